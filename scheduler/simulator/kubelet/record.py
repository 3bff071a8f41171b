"""What a kubelet knows of a pod, and the status that it writes from it."""

from dataclasses import dataclass, field
from typing import Any, Final

from kube.instants import rfc3339
from scheduler.simulator import changes as ch
from scheduler.simulator.chance import key_of
from scheduler.simulator.kubelet.zones import Allotment
from scheduler.simulator.resources import Object

_REASONS: Final[dict[str, str]] = {
    "limit": "OOMKilled",
    "node_memory": "OOMKilled",
    "node_failed": "Unknown",
}
_KUBELET_CONDITIONS: Final = (
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
)


@dataclass(slots=True)
class ContainerRecord:
    """One container as its kubelet sees it."""

    name: str
    image: str
    role: str
    state: Object
    last_state: Object = field(default_factory=dict)
    is_ready: bool = False
    restart_count: int = 0
    container_id: str = ""
    has_begun: bool = False

    def start(self, *, at_s: float, restart_count: int, pod: str) -> None:
        """Take in that it runs."""
        if "terminated" in self.state:
            self.last_state = self.state
        self.state = {"running": {"startedAt": rfc3339(at_s)}}
        self.restart_count = restart_count
        self.container_id = _container_id(pod, self.name, restart_count)
        self.is_ready, self.has_begun = False, True

    def end(self, *, at_s: float, exit_code: int, reason: str) -> None:
        """Take in that it ended."""
        self.state = {
            "terminated": {
                "exitCode": exit_code,
                "reason": reason,
                "startedAt": (self.state.get("running") or {}).get("startedAt", rfc3339(at_s)),
                "finishedAt": rfc3339(at_s),
                "containerID": self.container_id,
            }
        }
        self.is_ready = self.role == "init" and exit_code == 0

    def wait(self, *, reason: str, message: str) -> None:
        """Take in that it waits."""
        if "terminated" in self.state:
            self.last_state = self.state
        self.state = {"waiting": {"reason": reason, "message": message}}
        self.is_ready = False

    @property
    def exit_code(self) -> int | None:
        """With what it ended, if it has."""
        ended = self.state.get("terminated")
        return None if ended is None else int(ended["exitCode"])

    def status(self) -> Object:
        """Write its ``containerStatuses`` entry."""
        found: Object = {
            "name": self.name,
            "state": self.state,
            "lastState": self.last_state,
            "ready": self.is_ready,
            "restartCount": self.restart_count,
            "image": self.image,
            "imageID": _image_id(self.image) if self.has_begun else "",
            "started": "running" in self.state,
        }
        if self.container_id:
            found["containerID"] = self.container_id
        return found


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a pod ended, as its status says."""

    phase: str
    reason: str = ""
    message: str = ""


@dataclass(slots=True)
class PodRecord:
    """One pod as its kubelet sees it."""

    uid: str
    namespace: str
    name: str
    node: str
    host_ip: str
    pod_ip: str
    restart_policy: str
    requests: dict[str, int]
    """What it holds of the node's allocatable, as the kubelet's admission counts."""
    containers: dict[str, ContainerRecord]
    start_time: str
    cards: dict[int, int] = field(default_factory=dict)
    """Milli that it has of its node's cards."""
    zones: Allotment | None = None
    """What it has to itself of its node's NUMA zones; ``None`` where nobody looks at these."""
    has_sandbox: bool = False
    is_stopping: bool = False
    verdict: Verdict | None = None

    @property
    def label(self) -> str:
        """As messages write it: ``name_namespace(uid)``."""
        return f"{self.name}_{self.namespace}({self.uid})"

    def apply(self, change: ch.PodChange) -> None:
        """Take in what happened."""
        match change:
            case ch.SandboxReady():
                self.has_sandbox = True
            case ch.PodFinished(has_succeeded=has_succeeded):
                self.verdict = Verdict("Succeeded" if has_succeeded else "Failed")
            case ch.PodEvicted():
                self._evict(change)
            case ch.ImagePullStarted() | ch.ImagePulled() | ch.PodStopped():
                pass  # worth an event, but not part of the status
            case _:
                self._apply_to_container(change, self.containers[change.container])

    def _apply_to_container(
        self,
        change: ch.ContainerStarted
        | ch.ContainerReady
        | ch.ContainerExited
        | ch.ContainerBackOff
        | ch.ImagePullFailed,
        container: ContainerRecord,
    ) -> None:
        match change:
            case ch.ContainerStarted(at_s=at_s, restart_count=restart_count):
                container.start(at_s=at_s, restart_count=restart_count, pod=self.uid)
            case ch.ContainerReady():
                container.is_ready = True
            case ch.ContainerExited(at_s=at_s, exit_code=code, cause=cause):
                reason = _REASONS.get(cause, "Error" if code else "Completed")
                container.end(at_s=at_s, exit_code=code, reason=reason)
            case ch.ContainerBackOff() | ch.ImagePullFailed():
                self._wait(change)

    def _wait(self, change: ch.ContainerBackOff | ch.ImagePullFailed) -> None:
        container = self.containers[change.container]
        if isinstance(change, ch.ContainerBackOff):
            message = (
                f"back-off {_duration(change.delay_s)} restarting failed "
                f"container={container.name} pod={self.label}"
            )
            container.wait(reason="CrashLoopBackOff", message=message)
            return
        is_first = (container.state.get("waiting") or {}).get("reason") not in (
            "ErrImagePull",
            "ImagePullBackOff",
        )
        if is_first:
            container.wait(reason="ErrImagePull", message=pull_error(change.image))
        else:
            message = f'Back-off pulling image "{change.image}": {pull_error(change.image)}'
            container.wait(reason="ImagePullBackOff", message=message)

    def _evict(self, change: ch.PodEvicted) -> None:
        for container in self.containers.values():
            if "running" in container.state:
                container.end(at_s=change.at_s, exit_code=137, reason="Error")
        self.verdict = Verdict("Failed", "Evicted", eviction_message(change))

    # --- the status

    def status(self, old: Object, *, now_s: float) -> Object:
        """Write the pod's status, keeping of *old* what is not the kubelet's."""
        apps = [c for c in self.containers.values() if c.role == "app"]
        inits = [c for c in self.containers.values() if c.role != "app"]
        phase = self.phase()
        found = {
            **{k: v for k, v in old.items() if k not in ("reason", "message")},
            "phase": phase,
            "conditions": self._conditions(old.get("conditions") or (), phase=phase, now_s=now_s),
            "hostIP": self.host_ip,
            "hostIPs": [{"ip": self.host_ip}],
            "startTime": self.start_time,
            "containerStatuses": [c.status() for c in apps],
        }
        if self.verdict is not None and self.verdict.reason:
            found |= {"reason": self.verdict.reason, "message": self.verdict.message}
        if inits:
            found["initContainerStatuses"] = [c.status() for c in inits]
        if self.has_sandbox:
            found |= {"podIP": self.pod_ip, "podIPs": [{"ip": self.pod_ip}]}
        return found

    def phase(self) -> str:
        """Tell the pod's phase."""
        if self.verdict is not None:
            return self.verdict.phase
        apps = [c for c in self.containers.values() if c.role == "app"]
        codes = [c.exit_code for c in apps]
        if self.is_stopping and None not in codes:
            return "Failed" if any(codes) else "Succeeded"
        return "Running" if all(c.has_begun for c in apps) else "Pending"

    def is_active(self) -> bool:
        """Tell whether it still holds resources of its node."""
        return self.verdict is None

    def _conditions(self, old: Any, *, phase: str, now_s: float) -> list[Object]:
        wanted = [
            ("PodReadyToStartContainers", self.has_sandbox and self.verdict is None, "", ""),
            ("Initialized", *self._initialized(phase)),
            ("Ready", *self._ready(phase)),
            ("ContainersReady", *self._ready(phase)),
        ]
        before = {c.get("type"): c for c in old}
        found = [
            _condition(before.get(type_), type_=type_, value=(value, reason, message), now_s=now_s)
            for type_, value, reason, message in wanted
        ]
        found += [c for c in old if c.get("type") not in _KUBELET_CONDITIONS]
        if self.verdict is not None and self.verdict.reason == "Evicted":
            found = [c for c in found if c.get("type") != "DisruptionTarget"]
            value = (True, "TerminationByKubelet", self.verdict.message)
            found.append(
                _condition(
                    before.get("DisruptionTarget"),
                    type_="DisruptionTarget",
                    value=value,
                    now_s=now_s,
                )
            )
        return found

    def _initialized(self, phase: str) -> tuple[bool, str, str]:
        if phase == "Succeeded":
            return True, "PodCompleted", ""
        missing = [
            c.name
            for c in self.containers.values()
            if (c.role == "init" and c.exit_code != 0) or (c.role == "sidecar" and not c.has_begun)
        ]
        if not missing:
            return True, "", ""
        message = f"containers with incomplete status: [{' '.join(missing)}]"
        return False, "ContainersNotInitialized", message

    def _ready(self, phase: str) -> tuple[bool, str, str]:
        if phase in ("Succeeded", "Failed"):
            return False, "PodCompleted" if phase == "Succeeded" else "PodFailed", ""
        unready = [c.name for c in self.containers.values() if c.role != "init" and not c.is_ready]
        if not unready:
            return True, "", ""
        return False, "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]"


def eviction_message(change: ch.PodEvicted) -> str:
    """Say why a pod was evicted, as the kubelet does."""
    return (
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: "
        f"{max(change.available_bytes, 0) // 1024}Ki. Container {change.container} was using "
        f"{change.used_bytes // 1024}Ki, request is {_binary(change.requested_bytes)}, has larger "
        "consumption of memory. "
    )


def pull_error(image: str) -> str:
    """Say why an image cannot be pulled, as containerd does."""
    host = image.split("/", 1)[0]
    return (
        f'failed to pull and unpack image "{image}": failed to resolve reference "{image}": '
        f"failed to do request: dial tcp: lookup {host}: no such host"
    )


def _condition(
    old: Object | None, *, type_: str, value: tuple[bool, str, str], now_s: float
) -> Object:
    is_true, reason, message = value
    status = "True" if is_true else "False"
    since = rfc3339(now_s)
    if old is not None and old.get("status") == status:
        since = old.get("lastTransitionTime") or since
    found: Object = {
        "type": type_,
        "status": status,
        "lastProbeTime": None,
        "lastTransitionTime": since,
    }
    found |= {"reason": reason} if reason else {}
    return found | ({"message": message} if message else {})


def _container_id(pod: str, container: str, restart_count: int) -> str:
    words = (key_of(pod, container, restart_count, part) for part in range(4))
    return "containerd://" + "".join(f"{word:016x}" for word in words)


def _image_id(image: str) -> str:
    name = image.partition("@")[0]
    head, _, last = name.rpartition("/")
    bare = "/".join(filter(None, (head, last.partition(":")[0])))
    return f"{bare}@sha256:" + "".join(f"{key_of(image, part):016x}" for part in range(4))


def _duration(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole}s" if whole < 60 else f"{whole // 60}m{whole % 60}s"


def _binary(amount_bytes: int) -> str:
    if amount_bytes == 0:
        return "0"
    return (
        f"{amount_bytes // 2**20}Mi" if amount_bytes % 2**20 == 0 else f"{amount_bytes // 1024}Ki"
    )
