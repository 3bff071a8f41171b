"""The programs of the end-to-end benchmark: a simulated API server, and the scheduler."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

_START_S = 120.0
"""How long a program may take to become ready: 5,000 nodes are listed on one or two cores."""

PROFILE = """\
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
profiles:
  - schedulerName: {name}
"""
"""kube-scheduler's default plugins, without the predictor's."""

SETTINGS = """\
server: {{port: {port}}}
kubernetes: {{kubeconfig_path: "{kubeconfig}"}}
profile_path: profile.yaml
# Nobody listens there: outcomes are reported to no one.
predictor: {{url: "http://127.0.0.1:9"}}
"""


@contextmanager
def simulated_api_server(n_nodes: int, *, folder: Path) -> Iterator[Path]:
    """Serve a cluster of scheduler_perf's nodes; yields the path of a kubeconfig."""
    kubeconfig = folder / "kubeconfig"
    options = [f"--nodes={n_nodes}", "--node-cpu=4", "--node-memory=32Gi", "--port=0"]
    command = [sys.executable, "-m", "scheduler.simulator", "serve", *options]
    with _running([*command, f"--write-kubeconfig={kubeconfig}"], folder=folder) as process:
        if process.stdout is None or not process.stdout.readline():
            raise SystemExit("the simulated API server did not start")
        yield kubeconfig


@contextmanager
def scheduler(kubeconfig: Path, *, name: str, folder: Path) -> Iterator[int]:
    """Run the program ``scheduler`` for pods that name it *name*; yields its process id."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "profile.yaml").write_text(PROFILE.format(name=name))
    settings = folder / "scheduler.yaml"
    settings.write_text(SETTINGS.format(port=port, kubeconfig=kubeconfig.resolve()))
    command = [sys.executable, "-m", "scheduler", f"--config={settings}"]
    with _running(command, folder=folder) as process:
        _wait_ready(port, process=process, log=folder / "log")
        yield process.pid


@contextmanager
def _running(command: list[str], *, folder: Path) -> Iterator[subprocess.Popen[str]]:
    environment = {key: value for key, value in os.environ.items() if key != "KUBECONFIG"}
    with (
        (folder / "log").open("a") as log,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
        ) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            process.wait(timeout=30)


def _wait_ready(port: int, *, process: subprocess.Popen[str], log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        connection = HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.1)
    raise SystemExit(f"the scheduler does not become ready:\n{log.read_text()[-2000:]}")
