"""The demonstration behind ``scripts/demo.sh``: a story in eight stages, told by the real programs.

Every line it prints was read from one of the four programs. A stage that fails ends the story with
its name, the reason, and where the logs are; the exit code is 0 only if every stage succeeded.
"""

import argparse
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import yaml

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".demo"
CLUSTER = "http://127.0.0.1:8001"
COLLECTOR = "http://127.0.0.1:8080"
PREDICTOR = "http://127.0.0.1:5000"
SCHEDULER = "http://127.0.0.1:8081"
NAMESPACE = "default"
SPEED = 30
"""Virtual seconds a second: the ten minutes for which a pod is observed pass in twenty."""
ROUND_S = 28.0
"""How long a pod of the demo lives before its Deployment is restarted."""

PLURALS = {
    "Namespace": "/api/v1/namespaces",
    "Pod": "/api/v1/namespaces/{namespace}/pods",
    "Deployment": "/apis/apps/v1/namespaces/{namespace}/deployments",
}
# What a cluster at thirty times the speed asks for; everything else is as shipped.
SETTINGS = {
    "COLLECTOR__METRICS__COLLECTION_INTERVAL": "1s",
    "COLLECTOR__DATABASE__URL": f"sqlite:///{HOME}/collector.db",
    "COLLECTOR__SCORING__PLACEMENT_MAX_LAG": "5m",
    "PREDICTOR__DATA__DIRECTORY": f"{HOME}/predictor",
    "PREDICTOR__COLLECTOR__REFRESH_INTERVAL": "1s",
    "PREDICTOR__ONLINE_LEARNING__POLL_INTERVAL": "3s",
    "PREDICTOR__ONLINE_LEARNING__MIN_INTERVAL": "10s",
    "SCHEDULER__PREDICTOR__MAX_AGE": "2m",
    "SCHEDULER__FEEDBACK__INTERVAL": "1s",
}


class StageFailedError(Exception):
    """A stage did not reach its end; the message says what was missing."""


@dataclass
class Story:
    """Prints stages and progress, and holds what later stages need."""

    session: requests.Session = field(default_factory=requests.Session)
    stage: str = "start"
    n_stages: int = 8
    number: int = 0
    facts: list[tuple[str, str]] = field(default_factory=list)

    @contextlib.contextmanager
    def telling(self, stage: str) -> Iterator[None]:
        """Announce a stage and say how long it took."""
        self.stage, self.number = stage, self.number + 1
        start = time.monotonic()
        self.say(f"\n[{self.number}/{self.n_stages}] {stage}")
        yield
        self.say(f"      done in {time.monotonic() - start:.1f} s")

    def say(self, text: str) -> None:
        """Print at once."""
        print(text, flush=True)

    def ask(self, method: str, url: str, **arguments: Any) -> Any:
        """Send a request and return the decoded answer.

        Raises:
            StageFailedError: The program did not answer, or answered with an error.
        """
        try:
            answer = self.session.request(method, url, timeout=10, **arguments)
        except requests.RequestException as error:
            raise StageFailedError(f"{method} {url}: {error}") from error
        if not answer.ok:
            raise StageFailedError(f"{method} {url}: {answer.status_code} {answer.text[:300]}")
        return answer.json() if "json" in answer.headers.get("Content-Type", "") else answer.text

    def wait(self, what: str, *, until: Callable[[], str | None], limit_s: float) -> None:
        """Wait until *until* returns ``None``; it returns the progress so far, which is shown.

        Raises:
            StageFailedError: It did not come true in time.
        """
        deadline, shown, shown_at = time.monotonic() + limit_s, "", 0.0
        while (progress := until()) is not None:
            now = time.monotonic()
            if now > deadline:
                raise StageFailedError(f"waited {limit_s:.0f} s for {what}; last seen: {progress}")
            if progress != shown or now - shown_at > 4:
                self.say(f"      … {progress}")
                shown, shown_at = progress, now
            time.sleep(0.5)


class Programs:
    """The four programs, their logs, and their end."""

    def __init__(self) -> None:
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *arguments: str) -> None:
        """Start ``python -m <arguments>`` with its log in the demo's folder."""
        log = (HOME / "logs" / f"{name}.log").open("wb")
        self.running[name] = subprocess.Popen(  # noqa: S603 (our own programs)
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **SETTINGS, "KUBECONFIG": str(HOME / "kubeconfig")},
        )

    def check(self) -> None:
        """Raise if a program has ended.

        Raises:
            StageFailedError: Names it and shows the end of its log.
        """
        for name, process in self.running.items():
            if process.poll() is not None:
                log = (HOME / "logs" / f"{name}.log").read_text(errors="replace")
                raise StageFailedError(f"{name} ended with {process.returncode}:\n{log[-1500:]}")

    def stop(self) -> None:
        """End all of them, the scheduler first."""
        for process in reversed(self.running.values()):
            process.terminate()
        for process in self.running.values():
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()


def free_ports() -> None:
    """Make sure that the four documented ports are free.

    Raises:
        StageFailedError: One is taken.
    """
    for url in (CLUSTER, COLLECTOR, PREDICTOR, SCHEDULER):
        port = int(url.rsplit(":", 1)[1])
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise StageFailedError(f"port {port} is taken by another program") from error


def start(story: Story, programs: Programs) -> None:
    """Start the four programs and wait until each says that it can serve."""
    free_ports()
    simulator = ("scheduler.simulator", "serve", "--nodes=5", f"--speed={SPEED}", "--seed=7")
    programs.start("cluster", *simulator, f"--write-kubeconfig={HOME / 'kubeconfig'}")
    wait_ready(story, programs, "cluster", CLUSTER)
    for name, url in (("collector", COLLECTOR), ("predictor", PREDICTOR), ("scheduler", SCHEDULER)):
        programs.start(name, name)
        wait_ready(story, programs, name, url)
    for node in story.ask("GET", f"{CLUSTER}/api/v1/nodes")["items"]:
        amounts = node["status"]["allocatable"]
        story.say(f"      {node['metadata']['name']}: {amounts['cpu']} cpu, {amounts['memory']}")


def wait_ready(story: Story, programs: Programs, name: str, url: str) -> None:
    """Wait until ``/readyz`` answers 200."""

    def reason() -> str | None:
        programs.check()
        try:
            answer = story.session.get(f"{url}/readyz", timeout=2)
        except requests.RequestException:
            return f"{name} starts"
        return None if answer.ok else f"{name}: {answer.text}"

    story.wait(f"{name} to be ready", until=reason, limit_s=40)
    story.say(f"      {name} is ready at {url}")


def apply(story: Story) -> None:
    """Create what ``config/examples/demo.yaml`` describes."""
    counts: Counter[str] = Counter()
    for document in yaml.safe_load_all((ROOT / "config/examples/demo.yaml").read_text()):
        namespace = document["metadata"].get("namespace", NAMESPACE)
        path = PLURALS[document["kind"]].format(namespace=namespace)
        story.ask("POST", CLUSTER + path, json=document)
        counts[document["kind"]] += 1
    story.say("      created " + ", ".join(f"{n} {kind}s" for kind, n in counts.items()))


def pods(story: Story) -> list[dict[str, Any]]:
    """All pods of the demo's namespace."""
    items = story.ask("GET", f"{CLUSTER}/api/v1/namespaces/{NAMESPACE}/pods")["items"]
    return [p for p in items if not p["metadata"].get("deletionTimestamp")]


def watch_placement(story: Story, programs: Programs) -> None:
    """Wait until every pod has a node and most run."""

    def waiting() -> str | None:
        programs.check()
        found = pods(story)
        n_bound = sum("nodeName" in p["spec"] for p in found)
        n_running = sum(p["status"].get("phase") == "Running" for p in found)
        if found and n_bound == len(found) and n_running >= 0.7 * len(found):
            return None
        return f"{len(found)} pods: {n_bound} bound, {n_running} running"

    story.wait("all pods to be bound", until=waiting, limit_s=60)
    per_node = Counter(p["spec"]["nodeName"] for p in pods(story))
    for node, n in sorted(per_node.items()):
        story.say(f"      {node}: {n} pods")
    story.facts.append(("pods bound", f"{sum(per_node.values())} on {len(per_node)} nodes"))
    decisions = story.ask("GET", f"{SCHEDULER}/api/v1/decisions", params={"limit": 1})
    story.say(f"      the newest decision: {explain(decisions['items'][0])}")


def explain(decision: dict[str, Any]) -> str:
    """Put a decision of the scheduler into a line."""
    scores = decision["scores"][0]["plugins"] if decision["scores"] else {}
    words = ", ".join(f"{name} {score}" for name, score in scores.items())
    return (
        f"{decision['name']} → {decision['node']} ({decision['score']} points, runner-up "
        f"{decision['runner_up']} by {decision['margin']}): {words}; {decision['summary']}"
    )


def question() -> dict[str, Any]:
    """The request that the README shows."""
    resources = {"requests": {"cpu": "500m", "memory": "512Mi"}}
    return {
        "pod_name": "web-1",
        "pod_namespace": "default",
        "pod_spec": {"containers": [{"name": "app", "resources": resources}]},
    }


def predict(story: Story) -> dict[str, Any]:
    """Ask the predictor, and show the answer with its reasons."""
    url = f"{PREDICTOR}/predict?explain=true"
    answer: dict[str, Any] = story.ask("POST", url, json=question())
    story.say(
        f"      POST /predict → {answer['predicted_node']}, confidence {answer['confidence']:.2f},"
        f" by {answer['algorithm']} (model {answer['model_version']})"
    )
    for node in answer["node_predictions"]:
        reasons = sorted(node["contributions"].items(), key=lambda item: -abs(item[1]))[:4]
        words = ", ".join(f"{name} {value:+.1f}" for name, value in reasons)
        story.say(f"        {node['node_name']}: score {node['score']:3d}  ({words})")
    return answer


def give_feedback(story: Story, prediction: dict[str, Any]) -> None:
    """Report an outcome for the prediction, as a user would by hand."""
    body = {
        "prediction_id": prediction["prediction_id"],
        "actual_node": prediction["predicted_node"],
        "success": True,
        "pod_status": "Running",
    }
    answer = story.ask("POST", f"{PREDICTOR}/feedback", json=body)
    story.say(f"      POST /feedback → {answer}")


class Restarts:
    """Restarts one Deployment after the other, as ``kubectl rollout restart`` does.

    Not all at once: pods placed in one burst meet one state of the cluster, and a model learns
    little from seeing the same situation many times.
    """

    def __init__(self, story: Story) -> None:
        self._story = story
        self._path = f"{CLUSTER}{PLURALS['Deployment'].format(namespace=NAMESPACE)}"
        self._names: list[str] = []
        self._interval_s = 0.0
        self._next_s = time.monotonic()

    def go_on(self) -> None:
        """Restart the next Deployment if it is time: each once in ``ROUND_S`` seconds."""
        if time.monotonic() < self._next_s:
            return
        if not self._names:
            items = self._story.ask("GET", self._path)["items"]
            self._names = [item["metadata"]["name"] for item in items]
            self._interval_s = ROUND_S / len(items)
            self._story.say(f"      restarts {len(items)} Deployments in turn: new pods are placed")
        self._next_s = time.monotonic() + self._interval_s
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        template = {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": now}}}
        self._story.ask(
            "PATCH",
            f"{self._path}/{self._names.pop(0)}",
            json={"spec": {"template": template}},
            headers={"Content-Type": "application/strategic-merge-patch+json"},
        )


def learn(story: Story, programs: Programs) -> None:
    """Keep placements coming until a model is trusted and serves."""
    restarts = Restarts(story)

    def waiting() -> str | None:
        programs.check()
        model = story.ask("GET", f"{PREDICTOR}/model/info")
        if model["is_trusted"]:
            return None
        restarts.go_on()
        days = story.ask("GET", f"{PREDICTOR}/performance")["days"]
        n_feedback = sum(day["n_feedback"] for day in days)
        n_healthy = sum(day["n_successes"] for day in days)
        why = model["why_not_trusted"] or "no model yet"
        return f"{n_feedback} outcomes fed back, {n_healthy} of them healthy; {why}"

    story.wait("a model that is better than its baselines", until=waiting, limit_s=150)
    model = story.ask("GET", f"{PREDICTOR}/model/info")
    scores = model["scores"]
    story.say(f"      model {model['version']}, judged on {scores['n_rows']} rows it had not seen:")
    for name in ("model", "base_rate", "enhanced_scoring"):
        brier, auc = scores[name]["brier"], scores[name]["roc_auc"]
        story.say(f"        {name:<17} Brier {brier:.3f}, ROC-AUC {auc:.2f}")
    best = sorted(model["importances"].items(), key=lambda item: -item[1])[:3]
    story.say("      it looks most at " + ", ".join(f"{name} ({v:.2f})" for name, v in best))
    story.facts.append(("model", f"version {model['version']}, {model['rows']} rows"))
    story.facts.append(("base rate of healthy placements", f"{model['base_rate']:.2f}"))


def summary(story: Story, first: dict[str, Any], last: dict[str, Any]) -> None:
    """Compare the first answer with the last, and print the table.

    Raises:
        StageFailedError: The last answer did not come from the model.
    """
    if last["algorithm"] != "ml_prediction":
        raise StageFailedError(
            f"the model is trusted, but /predict answered by {last['algorithm']}"
        )
    for name, answer in (("first answer", first), ("last answer", last)):
        words = f"{answer['algorithm']}: {answer['predicted_node']} ({answer['confidence']:.2f})"
        story.facts.append((name, words))
    health = story.ask("GET", f"{PREDICTOR}/health")
    story.facts.append(("predictions", str(health["total_predictions"])))
    width = max(len(name) for name, _ in story.facts)
    for name, value in story.facts:
        story.say(f"      {name:<{width}}  {value}")


def tell(story: Story, programs: Programs) -> None:
    """Run all stages."""
    with story.telling("start a simulated cluster and the three programs"):
        start(story, programs)
    with story.telling("ask the predictor before it has seen anything"):
        first = predict(story)
    with story.telling("apply config/examples/demo.yaml"):
        apply(story)
    with story.telling("watch the scheduler place the pods"):
        watch_placement(story, programs)
    with story.telling("give feedback by hand"):
        give_feedback(story, predict(story))
    with story.telling("outcomes come in, and a model is trained from them"):
        learn(story, programs)
    with story.telling("ask again"):
        last = predict(story)
    with story.telling("summary"):
        summary(story, first, last)


def main() -> int:
    """Tell the story; 0 if it came to its end."""
    parser = argparse.ArgumentParser(prog="scripts/demo.sh", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave it running until Ctrl-C")
    options = parser.parse_args()
    shutil.rmtree(HOME, ignore_errors=True)
    (HOME / "logs").mkdir(parents=True)
    story, programs = Story(), Programs()
    story.session.trust_env = False
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        tell(story, programs)
        story.say(f"\ndemo: every stage succeeded (logs: {HOME / 'logs'})")
        if options.keep:
            story.say(f"demo: still running; kubectl --server {CLUSTER} get pods -n {NAMESPACE}")
            story.say("demo: Ctrl-C ends it")
            stop.wait()
    except StageFailedError as error:
        story.say(f"\ndemo: FAILED in stage {story.number} ({story.stage}): {error}")
        story.say(f"demo: logs are in {HOME / 'logs'}")
        return 1
    except KeyboardInterrupt:
        story.say("\ndemo: stopped")
        return 0 if story.number == story.n_stages else 130
    finally:
        programs.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
