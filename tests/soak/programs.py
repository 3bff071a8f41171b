"""The programs of a soak: a simulated API server that misbehaves, and two schedulers."""

import re
import signal
import subprocess
import sys
import time

import msgspec
import requests

from tests.soak.observer import USER_AGENT

SPEED = 3.0
FAULTS = {
    "latency_s": 0.005,
    "p_throttled": 0.02,
    "p_failed": 0.02,
    "p_conflict": 0.05,
    "p_answer_lost": 0.02,
    "p_watch_dropped": 0.01,
    "spared_user_agent": USER_AGENT,
}
PROFILE = """\
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
profiles: [{schedulerName: ai-scheduler}]
leaderElection: {leaderElect: true, leaseDuration: 4s, renewDeadline: 3s, retryPeriod: 200ms}
"""
SETTINGS = """\
profile_path: profile.yaml
server: {port: 0}
kubernetes: {kubeconfig_path: "KUBECONFIG"}
# Nobody listens there: decisions go on without predictions, and outcomes are told to nobody.
predictor: {url: "http://127.0.0.1:9"}
"""


class ApiServer:
    """``python -m scheduler.simulator serve``; a context manager."""

    def __init__(self, folder, *, n_nodes, seed):
        command = [
            *(sys.executable, "-m", "scheduler.simulator", "serve", "--port=0"),
            *(f"--nodes={n_nodes}", "--node-cpu=4", "--node-memory=8Gi"),
            *(f"--speed={SPEED}", f"--seed={seed}"),
            f"--write-kubeconfig={folder / 'kubeconfig'}",
        ]
        with (folder / "simulator.log").open("w") as log:
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        found = re.search(r"http://\S+", self._process.stdout.readline())
        if found is None:
            raise SystemExit(f"soak: the API server did not start: {folder / 'simulator.log'}")
        self.url = found[0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    def misbehave(self, seed):
        self._set_faults({**FAULTS, "seed": seed})

    def behave(self):
        self._set_faults({})

    def _set_faults(self, faults):
        body = msgspec.json.encode(faults)
        requests.put(f"{self.url}/simulator/v1/faults", data=body, timeout=10).raise_for_status()

    def n_faults(self):
        """How often each fault was made."""
        text = requests.get(f"{self.url}/metrics", timeout=10).text
        found = re.findall(
            r'^apiserver_injected_faults_total\{kind="(\w+)"\} (\S+)$', text, re.MULTILINE
        )
        return {kind: int(float(number)) for kind, number in found}


class Schedulers:
    """Two instances, one of which leads; what ends is started anew. A context manager."""

    def __init__(self, folder, *, n=2):
        (folder / "profile.yaml").write_text(PROFILE)
        settings = SETTINGS.replace("KUBECONFIG", str(folder / "kubeconfig"))
        (folder / "scheduler.yaml").write_text(settings)
        self._folder = folder
        self._processes = {f"scheduler-{i}": None for i in range(n)}
        self.n_started = self.n_killed = 0

    def __enter__(self):
        self.keep_running()
        return self

    def __exit__(self, *_):
        for process in self._processes.values():
            if process is not None:
                process.kill()
                process.wait()

    def keep_running(self):
        """Start whoever does not run: one that has lost its lease ends by itself."""
        for name, process in self._processes.items():
            if process is None or process.poll() is not None:
                self._processes[name] = self._start(name)

    def strike(self, rng):
        """Kill one, or stop it in good order."""
        name = rng.choice(sorted(self._processes))
        process = self._processes[name]
        number = signal.SIGKILL if rng.random() < 0.8 else signal.SIGTERM
        process.send_signal(number)
        process.wait(timeout=60)
        self.n_killed += number == signal.SIGKILL

    def _start(self, name):
        self.n_started += 1
        config = self._folder / "scheduler.yaml"
        with (self._folder / f"{name}.log").open("a") as log:
            log.write(f"--- started at {time.strftime('%H:%M:%S')}\n")
            log.flush()
            return subprocess.Popen(
                [sys.executable, "-m", "scheduler", f"--config={config}"], stderr=log
            )
