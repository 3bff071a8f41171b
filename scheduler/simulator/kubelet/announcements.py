"""The events by which kubelets tell people what they do, in their words."""

from typing import Final

from scheduler.simulator import changes as ch
from scheduler.simulator.kubelet.record import PodRecord, eviction_message, pull_error
from scheduler.simulator.recorder import EventType, Recorder, Source
from scheduler.simulator.resources import NODES, Object

_FIELDS: Final = {"app": "containers", "init": "initContainers", "sidecar": "initContainers"}


class Announcer:
    """Records the kubelets' events.

    Args:
        recorder: Writes them.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def tell(self, change: ch.PodChange, *, record: PodRecord) -> None:
        """Announce what happened to a pod, if it is worth an event."""
        match change:
            case ch.ImagePullStarted(container=name, image=image):
                self._pod(record, name, reason="Pulling", note=f'Pulling image "{image}"')
            case ch.ImagePulled():
                note = _pulled_note(change)
                self._pod(record, change.container, reason="Pulled", note=note)
                self._pod(record, change.container, reason="Created", note="Container created")
            case ch.ContainerStarted(container=name):
                self._pod(record, name, reason="Started", note="Container started")
            case _:
                self._tell_trouble(change, record=record)

    def _tell_trouble(self, change: ch.PodChange, *, record: PodRecord) -> None:
        match change:
            case ch.ImagePullFailed(container=name, image=image):
                note = f'Failed to pull image "{image}": {pull_error(image)}'
                self._pod(record, name, reason="Failed", note=note, type_="Warning")
                note = f'Back-off pulling image "{image}"'
                self._pod(record, name, reason="BackOff", note=note)
            case ch.ContainerBackOff(container=name):
                note = f"Back-off restarting failed container {name} in pod {record.label}"
                self._pod(record, name, reason="BackOff", note=note, type_="Warning")
            case ch.ContainerExited(container=name, cause="node_memory"):
                note = f"System OOM encountered, victim process: {name}"
                self.tell_node(record.node, reason="SystemOOM", note=note, type_="Warning")
            case ch.PodEvicted():
                note = eviction_message(change)
                self._pod(record, "", reason="Evicted", note=note, type_="Warning")
            case _:
                pass

    def tell_killing(self, record: PodRecord) -> None:
        """Announce that a pod's containers are being stopped."""
        for container in record.containers.values():
            if "running" in container.state:
                note = f"Stopping container {container.name}"
                self._pod(record, container.name, reason="Killing", note=note)

    def tell_rejected(self, record: PodRecord, *, reason: str, note: str) -> None:
        """Announce that a node would not take a pod."""
        self._pod(record, "", reason=reason, note=note, type_="Warning")

    def tell_unmounted(self, record: PodRecord, *, note: str) -> None:
        """Announce that a pod waits for its volumes."""
        self._pod(record, "", reason="FailedMount", note=note, type_="Warning")

    def tell_bad_annotation(self, record: PodRecord, *, note: str) -> None:
        """Announce that a pod's usage annotation is not understood, so it is ignored."""
        self._pod(record, "", reason="InvalidUsageAnnotation", note=note, type_="Warning")

    def tell_node(self, node: str, *, reason: str, note: str, type_: EventType = "Normal") -> None:
        """Announce something about a node."""
        # Kubelets refer to their node by name alone, the uid being the name.
        about = {"kind": "Node", "name": node, "uid": node, "apiVersion": NODES.api_version}
        self._recorder.record(
            about, source=Source("kubelet", node), reason=reason, note=note, type_=type_
        )

    def _pod(
        self,
        record: PodRecord,
        container: str,
        *,
        reason: str,
        note: str,
        type_: EventType = "Normal",
    ) -> None:
        about: Object = {
            "kind": "Pod",
            "namespace": record.namespace,
            "name": record.name,
            "uid": record.uid,
            "apiVersion": "v1",
        }
        if container:
            field = _FIELDS[record.containers[container].role]
            about["fieldPath"] = f"spec.{field}{{{container}}}"
        self._recorder.record(
            about, source=Source("kubelet", record.node), reason=reason, note=note, type_=type_
        )


def _pulled_note(change: ch.ImagePulled) -> str:
    if not change.size_bytes:
        return f'Container image "{change.image}" already present on machine'
    with_wait_s = change.took_s + change.waited_s
    return (
        f'Successfully pulled image "{change.image}" in {change.took_s:.3g}s '
        f"({with_wait_s:.3g}s including waiting). Image size: {change.size_bytes} bytes."
    )
