"""Images: what a node must pull before a container can be created, and what it may throw away."""

import numpy as np

from scheduler.simulator import changes as ch
from scheduler.simulator.chance import generator_of
from scheduler.simulator.due import Due, Kind
from scheduler.simulator.parameters import ImagePhysics, Physics
from scheduler.simulator.runs import ContainerRun, NodeRun, Phase, Pull
from scheduler.simulator.timeline import Timeline


class Pulls:
    """Gets images onto nodes, one at a time on each.

    Args:
        timeline: Where arrivals, starts and further attempts are planned.
        emitted: Where it says what happened.
        physics: The constants.
    """

    def __init__(
        self, timeline: Timeline[Due], *, emitted: list[ch.Change], physics: Physics
    ) -> None:
        self._law, self._create_s = physics.images, physics.pods.create_s
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
        law = self._law
        wait_s = min(max(law.first_back_off_s, 2 * container.pull_back_off_s), law.max_back_off_s)
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
        node.images[image] = draw_image_size_bytes(image, law=self._law)
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
            size_bytes = draw_image_size_bytes(image, law=self._law)
            took_s = size_bytes / node.spec.traits.pull_bytes_per_s
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
        self._timeline.push(now_s + self._create_s, due)

    def _collect(self, node: NodeRun) -> None:
        if sum(node.images.values()) <= node.spec.image_disk_bytes:
            return
        used = {c.spec.image for pod in node.pods.values() for c in pod.containers}
        for image in [i for i in node.images if i not in used]:
            del node.images[image]
            if sum(node.images.values()) <= node.spec.image_disk_bytes:
                return


def draw_image_size_bytes(image: str, *, law: ImagePhysics) -> int:
    """Draw what an image weighs, compressed, the same for the same name."""
    chance = generator_of("image", image)
    size_bytes = chance.lognormal(np.log(law.median_bytes), law.size_sigma)
    return int(np.clip(size_bytes, law.min_bytes, law.max_bytes))


def is_pullable(image: str) -> bool:
    """Tell whether a registry has the image: all have all, but those below ``.invalid``.

    RFC 2606 reserves that name, so nobody can mean a real registry by it.
    """
    host = image.split("/", 1)[0].split(":", 1)[0]
    return bool(image) and not ("/" in image and host.endswith(".invalid"))
