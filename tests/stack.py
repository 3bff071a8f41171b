"""The four programs as users run them, each a process of its own, on free ports."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import requests

ROOT = Path(__file__).resolve().parents[1]
START_S = 60.0

_PROFILE = """\
leaderElection: {leaderElect: true, resourceName: ai-scheduler, resourceNamespace: kube-system}
"""


class Stack:
    """A simulated cluster, collector, predictor and scheduler; a context manager.

    Args:
        folder: For logs, databases and the kubeconfig.
        speed: Virtual seconds a second.
        simulator: More options of ``serve``.
        settings: Environment for the three programs.
    """

    def __init__(self, folder, *, speed, simulator=(), settings=None):
        self.folder = folder
        self.addresses = dict(zip(("cluster", *_PROGRAMS), free_addresses(4), strict=True))
        self.token_file = folder / "token"
        self._speed = speed
        self._simulator = simulator
        self._settings = settings or {}
        self._running = {}
        self._session = requests.Session()
        self._session.trust_env = False

    def __enter__(self):
        try:
            self._start_all()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_):
        self._stop()

    def url(self, program):
        return f"http://{self.addresses[program]}"

    def ask(self, method, program, path, **options):
        """Send a request; the answer is decoded if it is JSON."""
        if program == "cluster":
            token = self.token_file.read_text().strip()
            options["headers"] = {"Authorization": f"Bearer {token}", **options.get("headers", {})}
        answer = self._session.request(method, self.url(program) + path, timeout=30, **options)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        is_json = "json" in answer.headers.get("Content-Type", "")
        return answer.json() if is_json else answer.text

    def check(self):
        """Fail with the end of a program's log if it has ended."""
        for name, process in self._running.items():
            if process.poll() is not None:
                raise AssertionError(f"{name} ended with {process.returncode}:\n{self.log(name)}")

    def log(self, name):
        return (self.folder / f"{name}.log").read_text(errors="replace")[-3000:]

    def _start_all(self):
        port = self.addresses["cluster"].rpartition(":")[2]
        self._start(
            "cluster",
            *("scheduler.simulator", "serve", f"--port={port}", f"--speed={self._speed}"),
            *(f"--write-kubeconfig={self.folder / 'kubeconfig'}", *self._simulator),
            f"--write-token={self.token_file}",
        )
        self._wait_ready("cluster")
        profile = (ROOT / "config/profiles/ai.yaml").read_text() + _PROFILE
        (self.folder / "profile.yaml").write_text(profile)
        (self.folder / "scheduler.yaml").write_text("profile_path: profile.yaml\n")
        for name in _PROGRAMS:
            config = (f"--config={self.folder}/scheduler.yaml",) if name == "scheduler" else ()
            self._start(name, name, *config)
        for name in _PROGRAMS:
            self._wait_ready(name)

    def _start(self, name, *arguments):
        with (self.folder / f"{name}.log").open("wb") as log:
            self._running[name] = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._environment()},
            )

    def _environment(self):
        ports = {
            f"{name.upper()}__SERVER__PORT": self.addresses[name].rpartition(":")[2]
            for name in _PROGRAMS
        }
        return {
            **ports,
            "KUBECONFIG": str(self.folder / "kubeconfig"),
            "COLLECTOR__DATABASE__URL": f"sqlite:///{self.folder}/collector.db",
            "PREDICTOR__DATA__DIRECTORY": str(self.folder / "predictor"),
            "PREDICTOR__COLLECTOR__URL": self.url("collector"),
            "SCHEDULER__PREDICTOR__URL": self.url("predictor"),
            **self._settings,
        }

    def _wait_ready(self, name):
        deadline = time.monotonic() + START_S
        why = ""
        while time.monotonic() < deadline:
            self.check()
            try:
                answer = self._session.get(f"{self.url(name)}/readyz", timeout=5)
            except requests.ConnectionError as error:
                why = str(error)
            else:
                if answer.ok:
                    return
                why = answer.text
            time.sleep(0.1)
        raise AssertionError(f"{name} is not ready: {why}\n{self.log(name)}")

    def _stop(self):
        self._session.close()
        for process in reversed(self._running.values()):
            process.terminate()
        for process in self._running.values():
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


_PROGRAMS = ("collector", "predictor", "scheduler")


def free_addresses(n):
    """Addresses of loopback that were free a moment ago."""
    probes = [socket.socket() for _ in range(n)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{probe.getsockname()[1]}" for probe in probes]
    finally:
        for probe in probes:
            probe.close()
