"""Small scenarios to learn in, which take a moment."""

SMALL = """\
name: small
warm_up: 0s
measured: 20m
nodes:
  - {name: one, count: 3, cpu: "4", memory: 16Gi}
  - {name: other, count: 1, cpu: "8", memory: 16Gi}
jobs:
  - name: task
    kinds: 3
    per_hour: 150
    cpu_request_milli: {choice: [250, 1000, 3500]}
    memory_request_mib: {uniform: [256, 1024]}
    run_s: {uniform: [120, 600]}
"""


def write_scenario(folder, text=SMALL):
    path = folder / "small.yaml"
    path.write_text(text)
    return path
