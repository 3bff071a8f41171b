"""Images: what a node must pull before a container can be created, and what it may throw away."""

from typing import Final

from scheduler.simulator import changes as ch
from scheduler.simulator.due import Due, Kind
from scheduler.simulator.runs import ContainerRun, NodeRun, Phase, Pull
from scheduler.simulator.timeline import Timeline
from scheduler.simulator.usage import draw_image_size_bytes, is_pullable

CREATE_S: Final = 0.5
FIRST_BACK_OFF_S: Final = 10.0
MAX_BACK_OFF_S: Final = 300.0


class Pulls:
    """Gets images onto nodes, one at a time on each.

    Args:
        timeline: Where arrivals, starts and further attempts are planned.
        emitted: Where it says what happened.
    """

    def __init__(self, timeline: Timeline[Due], *, emitted: list[ch.Change]) -> None:
        self._timeline = timeline
        self._emitted = emitted

    def prepare(self, container: ContainerRun, *, now_s: float) -> bool:
        """Get the image; tell whether there is hope."""
        image, node = container.spec.image, container.pod.node
        uid, name = container.pod.spec.uid, container.spec.name
        pull = Pull(container, container.epoch, now_s)
        if image in node.images:
            self._is_there(pull, now_s=now_s, began_s=now_s)
            return True
        self._emitted.append(ch.ImagePullStarted(at_s=now_s, pod=uid, container=name, image=image))
        if is_pullable(image):
            container.phase = Phase.PULLING
            node.pulls.append(pull)
            self._next(node, now_s=now_s)
            return True
        container.phase = Phase.BACK_OFF
        wait_s = min(max(FIRST_BACK_OFF_S, 2 * container.pull_back_off_s), MAX_BACK_OFF_S)
        container.pull_back_off_s = wait_s
        self._emitted.append(
            ch.ImagePullFailed(at_s=now_s, pod=uid, container=name, image=image, retry_in_s=wait_s)
        )
        due = Due(Kind.RETRY_PULL, container=container, epoch=container.epoch)
        self._timeline.push(now_s + wait_s, due)
        return False

    def on_pulled(self, due: Due, *, now_s: float) -> None:
        """The image that the node was pulling has arrived."""
        node = due.node
        if node is None or due.epoch != node.epoch or node.pulling is None:
            return
        pull, node.pulling = node.pulling, None
        image = pull.container.spec.image
        node.images[image] = draw_image_size_bytes(image)
        if not pull.is_void:
            self._is_there(pull, now_s=now_s, began_s=node.pull_began_s)
        self._collect(node)
        self._next(node, now_s=now_s)

    def _next(self, node: NodeRun, *, now_s: float) -> None:
        while node.pulling is None and node.pulls:
            pull = node.pulls.popleft()
            if pull.is_void:
                continue
            image = pull.container.spec.image
            if image in node.images:
                self._is_there(pull, now_s=now_s, began_s=now_s)
                continue
            node.pulling, node.pull_began_s = pull, now_s
            took_s = draw_image_size_bytes(image) / node.spec.traits.pull_bytes_per_s
            self._timeline.push(now_s + took_s, Due(Kind.PULLED, node=node, epoch=node.epoch))

    def _is_there(self, pull: Pull, *, now_s: float, began_s: float) -> None:
        container = pull.container
        image, node = container.spec.image, container.pod.node
        size_bytes = node.images.pop(image)
        node.images[image] = size_bytes  # the last used goes last
        self._emitted.append(
            ch.ImagePulled(
                at_s=now_s,
                pod=container.pod.spec.uid,
                container=container.spec.name,
                image=image,
                size_bytes=size_bytes if container.phase is Phase.PULLING else 0,
                took_s=now_s - began_s,
                waited_s=began_s - pull.asked_at_s,
            )
        )
        container.phase = Phase.CREATING
        due = Due(Kind.START, container=container, epoch=container.epoch)
        self._timeline.push(now_s + CREATE_S, due)

    def _collect(self, node: NodeRun) -> None:
        if sum(node.images.values()) <= node.spec.image_disk_bytes:
            return
        used = {c.spec.image for pod in node.pods.values() for c in pod.containers}
        for image in [i for i in node.images if i not in used]:
            del node.images[image]
            if sum(node.images.values()) <= node.spec.image_disk_bytes:
                return
