"""Examples of plugins as operators try them: kubectl, a simulated cluster, our scheduler."""

import contextlib
import json
import os
import random
import shutil
import subprocess
from pathlib import Path

from prometheus_client import CollectorRegistry

from kube.client import Client
from scheduler.cluster.metrics import Metrics
from scheduler.cluster.shell import ClusterShell
from scheduler.engine import Engine, EngineSettings
from scheduler.framework.configuration import load_configuration
from scheduler.framework.profile import make_profiles
from scheduler.plugins.defaults import built_in_registry
from scheduler.settings import SchedulerSettings
from tests.simulator_program import serving, wait_for

ROOT = Path(__file__).parents[2]
CRDS = ROOT / "config" / "crds"
EXAMPLES = ROOT / "config" / "examples" / "plugins"
PROFILES = ROOT / "config" / "profiles"

HAS_KUBECTL = shutil.which("kubectl") is not None


class Kubectl:
    """kubectl, told where the server is and given a home of its own."""

    def __init__(self, url, home):
        self.url = url
        self._base = ["kubectl", "--server", url]
        self._env = {"PATH": os.environ["PATH"], "HOME": str(home), "KUBECONFIG": str(home / "no")}

    def __call__(self, *arguments):
        done = subprocess.run(
            [*self._base, *arguments],
            env=self._env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def items(self, *arguments):
        return json.loads(self("get", *arguments, "-o", "json"))["items"]

    def bound(self, *arguments):
        """Pods that have a node and are there to stay."""
        return [
            pod
            for pod in self.items("pods", *arguments)
            if pod["spec"].get("nodeName") and "deletionTimestamp" not in pod["metadata"]
        ]


@contextlib.contextmanager
def cluster(home, *options):
    """A cluster with our definitions."""
    with serving("--nodes=2", "--speed=20", *options) as program:
        kubectl = Kubectl(program.url, home)
        kubectl("apply", "-f", str(CRDS))
        yield kubectl


@contextlib.contextmanager
def scheduling(url, profile, settings=None):
    """A scheduler with a profile of ``config/profiles``, or of a file anywhere."""
    registry = built_in_registry()
    configuration = load_configuration(PROFILES / f"{profile}.yaml", registry=registry)
    engine = Engine(make_profiles(configuration, registry=registry), settings=EngineSettings())
    with Client.for_url(url) as client:
        shell = ClusterShell(
            client,
            engine=engine,
            settings=settings or SchedulerSettings(),
            metrics=Metrics(CollectorRegistry()),
            rng=random.Random(1),
        )
        with shell:
            wait_for(lambda: not shell.not_ready())
            yield shell


@contextlib.contextmanager
def running(profile, home, *options):
    """A cluster with our definitions, and a scheduler with a profile of ``config/profiles``."""
    with cluster(home, *options) as kubectl, scheduling(kubectl.url, profile):
        yield kubectl
