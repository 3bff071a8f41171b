"""What a kubelet does with a pod: sandbox, images, starts, restarts, the end."""

from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np

from scheduler.simulator import changes as ch
from scheduler.simulator.chance import key_of
from scheduler.simulator.columns import ContainerColumns, NodeColumns, cpu_weight
from scheduler.simulator.physics import oom_score_adj, slow_down
from scheduler.simulator.runs import (
    ContainerRun,
    ContainerSpec,
    NodeRun,
    Phase,
    PodRun,
    PodSpec,
    Pull,
)
from scheduler.simulator.timeline import Timeline
from scheduler.simulator.usage import draw_image_size_bytes, is_pullable

TICK_S: Final = 10.0
"""The kubelet's housekeeping interval: usage, evictions and crashes are looked at so often."""
SANDBOX_S: Final = 1.0
CREATE_S: Final = 0.5
NOTICE_S: Final = 1.0
"""How soon the kubelet sees that a container ended."""
FIRST_BACK_OFF_S: Final = 10.0
MAX_BACK_OFF_S: Final = 300.0
BACK_OFF_RESET_S: Final = 600.0
"""A container that ran so long is forgiven its crashes."""


class Kind(Enum):
    """What falls due."""

    TICK = "tick"
    SANDBOX = "sandbox"
    PULLED = "pulled"
    RETRY_PULL = "retry pull"
    START = "start"
    READY = "ready"
    FINISH = "finish"
    STOP = "stop"
    NODE_FAIL = "node fail"
    NODE_RECOVER = "node recover"


@dataclass(frozen=True, slots=True, eq=False)
class Due:
    """A planned event; it is void if its subject's epoch has moved on."""

    kind: Kind
    node: NodeRun | None = None
    pod: PodRun | None = None
    container: ContainerRun | None = None
    epoch: int = 0


class Lifecycle:
    """Takes pods from placement to their end, emitting what happens.

    Args:
        timeline: Where it plans what comes next.
        containers: The columns whose rows it fills and frees.
        nodes: Read for how busy and how fast a node is.
        seed: Part of every container's luck.
    """

    def __init__(
        self,
        timeline: Timeline[Due],
        *,
        containers: ContainerColumns,
        nodes: NodeColumns,
        seed: int,
    ) -> None:
        self.pods: dict[str, PodRun] = {}
        self.runs: list[ContainerRun | None] = []
        """By row."""
        self.emitted: list[ch.Change] = []
        self.next_tick_s = 0.0
        self._timeline = timeline
        self._columns = containers
        self._nodes = nodes
        self._seed = seed
        self._free_rows: list[int] = []

    # --- coming and going

    def place(self, spec: PodSpec, *, node: NodeRun, now_s: float) -> None:
        """Take a pod in."""
        pod = PodRun(spec, node)
        for container in spec.containers:
            run = ContainerRun(container, pod, self._take_row())
            self._fill_row(run)
            pod.containers.append(run)
        self.pods[spec.uid] = node.pods[spec.uid] = pod
        self._plan(now_s + SANDBOX_S, Due(Kind.SANDBOX, pod=pod, epoch=node.epoch))

    def forget(self, pod: PodRun) -> None:
        """Let go of a pod and its rows."""
        pod.is_gone = True
        del self.pods[pod.spec.uid]
        del pod.node.pods[pod.spec.uid]
        for container in pod.containers:
            self._columns.is_running[container.row] = False
            self.runs[container.row] = None
            self._free_rows.append(container.row)

    def stop(self, pod: PodRun, *, grace_s: float, now_s: float) -> None:
        """Tell a pod to stop; telling it again can only hasten its end."""
        if pod.stop_by_s is not None and now_s + grace_s >= pod.stop_by_s:
            return
        pod.stop_by_s = now_s + grace_s
        if pod.node.is_up:
            self._plan_stop(pod, now_s=now_s)

    # --- what falls due

    def on_sandbox(self, due: Due, *, now_s: float) -> None:
        """The pod has its network."""
        pod = due.pod
        if pod is None or pod.is_gone or pod.is_stopping or due.epoch != pod.node.epoch:
            return
        pod.has_sandbox = True
        self.emitted.append(ch.SandboxReady(at_s=now_s, pod=pod.spec.uid))
        self._proceed(pod, now_s=now_s)

    def on_pulled(self, due: Due, *, now_s: float) -> None:
        """The image that the node was pulling has arrived."""
        node = due.node
        if node is None or due.epoch != node.epoch or node.pulling is None:
            return
        pull, node.pulling = node.pulling, None
        image = pull.container.spec.image
        node.images[image] = draw_image_size_bytes(image)
        if not pull.is_void:
            self._image_is_there(pull, now_s=now_s, began_s=node.pull_began_s)
        self._collect_images(node)
        self._pull_next(node, now_s=now_s)

    def on_container(self, due: Due, *, now_s: float) -> None:
        """A container's turn has come: to pull again, to start, to be ready, to finish."""
        container = due.container
        if container is None or container.pod.is_gone or due.epoch != container.epoch:
            return
        if due.kind is Kind.RETRY_PULL:
            self._prepare(container, now_s=now_s)
        elif due.kind is Kind.START:
            self._start(container, now_s=now_s)
        elif due.kind is Kind.READY:
            self.emitted.append(
                ch.ContainerReady(
                    at_s=now_s, pod=container.pod.spec.uid, container=container.spec.name
                )
            )
        else:
            code = container.spec.profile.exit_code
            self.exit(container, code=code, cause="completed", now_s=now_s)

    def on_stop(self, due: Due, *, now_s: float) -> None:
        """The pod's containers have stopped, or their time is up."""
        pod = due.pod
        if pod is None or pod.is_gone or due.epoch != pod.stop_epoch:
            return
        for container in pod.containers:
            if container.phase is Phase.RUNNING:
                in_time = now_s < (pod.stop_by_s or 0.0)
                self._emit_exit(
                    container, code=0 if in_time else 137, cause="completed", now_s=now_s
                )
        self.forget(pod)
        self.emitted.append(ch.PodStopped(at_s=now_s, pod=pod.spec.uid))

    def on_node_fail(self, node: NodeRun, *, now_s: float) -> None:
        """All that ran on the node is gone, and the node with it."""
        node.is_up = False
        node.epoch += 1
        node.pulls.clear()
        node.pulling = None
        for pod in node.pods.values():
            pod.stop_epoch += 1
            for container in pod.containers:
                container.epoch += 1
                self._columns.is_running[container.row] = False
        self.emitted.append(ch.NodeFailed(at_s=now_s, node=node.spec.name))

    def on_node_recover(self, node: NodeRun, *, now_s: float) -> None:
        """The node is back: what ran is started again, what was to stop is gone."""
        node.is_up = True
        self.emitted.append(ch.NodeRecovered(at_s=now_s, node=node.spec.name))
        for pod in list(node.pods.values()):
            if pod.is_stopping:
                self._plan_stop(pod, now_s=now_s)
            elif not pod.has_sandbox:
                self._plan(now_s + SANDBOX_S, Due(Kind.SANDBOX, pod=pod, epoch=node.epoch))
            else:
                self._resume(pod, now_s=now_s)

    # --- the end of a container

    def exit(
        self, container: ContainerRun, *, code: int, cause: ch.ExitCause, now_s: float
    ) -> None:
        """A container ended: start it again, or not, as its pod wishes."""
        self._emit_exit(container, code=code, cause=cause, now_s=now_s)
        pod = container.pod
        if pod.is_stopping:
            container.phase = Phase.DONE
        elif self._must_restart(container):
            self._plan_restart(container, now_s=now_s)
        else:
            container.phase = Phase.DONE
            self._settle(pod, now_s=now_s)

    def evict(self, pod: PodRun, *, now_s: float, available_bytes: float) -> None:
        """Throw a pod out for lack of memory."""
        columns = self._columns
        running = [c for c in pod.containers if columns.is_running[c.row]] or pod.containers
        worst = max(
            running, key=lambda c: columns.memory_bytes[c.row] - c.spec.memory_request_bytes
        )
        self.forget(pod)
        self.emitted.append(
            ch.PodEvicted(
                at_s=now_s,
                pod=pod.spec.uid,
                node=pod.node.spec.name,
                available_bytes=int(available_bytes),
                container=worst.spec.name,
                used_bytes=int(columns.memory_bytes[worst.row]),
                requested_bytes=worst.spec.memory_request_bytes,
            )
        )

    def plan_finish(self, container: ContainerRun, *, now_s: float, rate: float) -> None:
        """Plan the end of a container's work if it falls before the next tick.

        Args:
            container: One with an end to its work.
            now_s: The time.
            rate: Seconds of work done per second.
        """
        columns, row = self._columns, container.row
        left_s = float(columns.work_left_s[row])
        passes_s = self.next_tick_s - now_s
        if left_s <= rate * passes_s:
            columns.work_left_s[row] = np.inf
            due = Due(Kind.FINISH, container=container, epoch=container.epoch)
            self._plan(now_s + left_s / rate, due)
            return
        columns.work_left_s[row] = left_s - rate * passes_s

    # --- details

    def _plan(self, at_s: float, due: Due) -> None:
        self._timeline.push(at_s, due)

    def _proceed(self, pod: PodRun, *, now_s: float) -> None:
        """Prepare the next container, if it is not the turn of one that is under way."""
        if pod.is_gone or pod.is_stopping:
            return
        for container in pod.containers:
            if container.phase is Phase.WAITING and self._prepare(container, now_s=now_s):
                return
            if container.phase in (Phase.PULLING, Phase.CREATING):
                return
            if container.spec.role == "init" and container.phase is not Phase.DONE:
                return
            if container.spec.role == "sidecar" and container.phase is Phase.BACK_OFF:
                return

    def _prepare(self, container: ContainerRun, *, now_s: float) -> bool:
        """Get the image; tell whether there is hope."""
        image, node = container.spec.image, container.pod.node
        uid, name = container.pod.spec.uid, container.spec.name
        pull = Pull(container, container.epoch, now_s)
        if image in node.images:
            self._image_is_there(pull, now_s=now_s, began_s=now_s)
            return True
        self.emitted.append(ch.ImagePullStarted(at_s=now_s, pod=uid, container=name, image=image))
        if is_pullable(image):
            container.phase = Phase.PULLING
            node.pulls.append(pull)
            self._pull_next(node, now_s=now_s)
            return True
        container.phase = Phase.BACK_OFF
        wait_s = min(max(FIRST_BACK_OFF_S, 2 * container.pull_back_off_s), MAX_BACK_OFF_S)
        container.pull_back_off_s = wait_s
        self.emitted.append(
            ch.ImagePullFailed(at_s=now_s, pod=uid, container=name, image=image, retry_in_s=wait_s)
        )
        due = Due(Kind.RETRY_PULL, container=container, epoch=container.epoch)
        self._plan(now_s + wait_s, due)
        return False

    def _pull_next(self, node: NodeRun, *, now_s: float) -> None:
        while node.pulling is None and node.pulls:
            pull = node.pulls.popleft()
            if pull.is_void:
                continue
            image = pull.container.spec.image
            if image in node.images:
                self._image_is_there(pull, now_s=now_s, began_s=now_s)
                continue
            node.pulling, node.pull_began_s = pull, now_s
            took_s = draw_image_size_bytes(image) / node.spec.traits.pull_bytes_per_s
            self._plan(now_s + took_s, Due(Kind.PULLED, node=node, epoch=node.epoch))

    def _image_is_there(self, pull: Pull, *, now_s: float, began_s: float) -> None:
        container = pull.container
        image, node = container.spec.image, container.pod.node
        size_bytes = node.images.pop(image)
        node.images[image] = size_bytes  # the last used goes last
        self.emitted.append(
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
        self._plan(now_s + CREATE_S, due)

    def _collect_images(self, node: NodeRun) -> None:
        if sum(node.images.values()) <= node.spec.image_disk_bytes:
            return
        used = {c.spec.image for pod in node.pods.values() for c in pod.containers}
        for image in [i for i in node.images if i not in used]:
            del node.images[image]
            if sum(node.images.values()) <= node.spec.image_disk_bytes:
                return

    def _start(self, container: ContainerRun, *, now_s: float) -> None:
        pod, row, profile = container.pod, container.row, container.spec.profile
        if pod.is_stopping:
            return
        columns = self._columns
        container.phase = Phase.RUNNING
        container.epoch += 1
        columns.is_running[row] = True
        columns.started_at_s[row] = now_s
        columns.work_left_s[row] = profile.run_s
        for counter in (columns.cpu_core_s, columns.cfs_periods, columns.cfs_throttled_periods):
            counter[row] = 0.0
        columns.cpu_milli[row] = columns.memory_bytes[row] = columns.throttled_ratio[row] = 0.0
        self.emitted.append(
            ch.ContainerStarted(
                at_s=now_s,
                pod=pod.spec.uid,
                container=container.spec.name,
                restart_count=container.restart_count,
            )
        )
        rate = self._rate_of_work(container)
        if container.spec.role != "init":
            due = Due(Kind.READY, container=container, epoch=container.epoch)
            self._plan(now_s + profile.startup_s / rate, due)
        if np.isfinite(profile.run_s):
            self.plan_finish(container, now_s=now_s, rate=rate)
        self._proceed(pod, now_s=now_s)

    def _rate_of_work(self, container: ContainerRun) -> float:
        """Guess from the node's last tick how fast a container will work now."""
        nodes, row = self._nodes, container.pod.node.row
        utilization = nodes.cpu_milli[row : row + 1] / nodes.cpu_capacity_milli[row]
        slower = slow_down(
            utilization,
            hunger=container.spec.profile.cache_hunger,
            neighbours=nodes.hunger[row : row + 1],
        )
        return float(nodes.speed[row] / slower[0])

    def _emit_exit(
        self, container: ContainerRun, *, code: int, cause: ch.ExitCause, now_s: float
    ) -> None:
        container.epoch += 1
        container.exit_code = code
        self._columns.is_running[container.row] = False
        self.emitted.append(
            ch.ContainerExited(
                at_s=now_s,
                pod=container.pod.spec.uid,
                container=container.spec.name,
                exit_code=code,
                cause=cause,
            )
        )

    def _must_restart(self, container: ContainerRun) -> bool:
        policy = container.pod.spec.restart_policy
        has_failed = container.exit_code != 0
        if container.spec.role == "sidecar":
            return True
        if container.spec.role == "init":
            return has_failed and policy != "Never"
        return policy == "Always" or (policy == "OnFailure" and has_failed)

    def _plan_restart(self, container: ContainerRun, *, now_s: float) -> None:
        # As the kubelet counts: the first restart is immediate, and a long run forgives all.
        if now_s - container.restarted_at_s > BACK_OFF_RESET_S:
            container.back_off_s = 0.0
        wait_s = container.back_off_s
        if wait_s:
            self.emitted.append(
                ch.ContainerBackOff(
                    at_s=now_s,
                    pod=container.pod.spec.uid,
                    container=container.spec.name,
                    delay_s=wait_s,
                )
            )
        container.back_off_s = min(max(FIRST_BACK_OFF_S, 2 * wait_s), MAX_BACK_OFF_S)
        container.restarted_at_s = now_s + max(wait_s, NOTICE_S)
        container.restart_count += 1
        container.phase = Phase.BACK_OFF
        due = Due(Kind.START, container=container, epoch=container.epoch)
        self._plan(container.restarted_at_s, due)

    def _settle(self, pod: PodRun, *, now_s: float) -> None:
        """A container is done for good: go on with the next, or end the pod."""
        inits = [c for c in pod.containers if c.spec.role == "init"]
        apps = [c for c in pod.containers if c.spec.role == "app"]
        has_failed_init = any(c.phase is Phase.DONE and c.exit_code for c in inits)
        if not has_failed_init and any(c.phase is not Phase.DONE for c in apps):
            self._proceed(pod, now_s=now_s)
            return
        for sidecar in pod.containers:
            if sidecar.phase is Phase.RUNNING:
                self._emit_exit(sidecar, code=0, cause="completed", now_s=now_s)
        has_succeeded = not has_failed_init and all(c.exit_code == 0 for c in apps)
        self.forget(pod)
        self.emitted.append(
            ch.PodFinished(at_s=now_s, pod=pod.spec.uid, has_succeeded=has_succeeded)
        )

    def _resume(self, pod: PodRun, *, now_s: float) -> None:
        for container in list(pod.containers):
            if container.phase is Phase.RUNNING:
                self.exit(container, code=255, cause="node_failed", now_s=now_s)
            elif container.phase is Phase.BACK_OFF and container.pull_back_off_s == 0:
                due = Due(Kind.START, container=container, epoch=container.epoch)
                self._plan(now_s + NOTICE_S, due)
            elif container.phase is not Phase.DONE:
                container.phase = Phase.WAITING
        if not pod.is_gone:
            self._proceed(pod, now_s=now_s)

    def _plan_stop(self, pod: PodRun, *, now_s: float) -> None:
        running = [c for c in pod.containers if self._columns.is_running[c.row]]
        wish_s = max((c.spec.profile.stop_s for c in running), default=0.0)
        end_s = min(now_s + wish_s, max(now_s, pod.stop_by_s or now_s))
        pod.stop_epoch += 1
        self._plan(end_s, Due(Kind.STOP, pod=pod, epoch=pod.stop_epoch))

    # --- rows

    def _take_row(self) -> int:
        if self._free_rows:
            return self._free_rows.pop()
        row = len(self.runs)
        self.runs.append(None)
        self._columns.grow(row + 1)
        return row

    def _fill_row(self, run: ContainerRun) -> None:
        columns, row, spec, pod = self._columns, run.row, run.spec, run.pod
        profile = spec.profile
        self.runs[row] = run
        columns.is_running[row] = False
        columns.node[row] = pod.node.row
        columns.key[row] = key_of("container", self._seed, pod.spec.name, spec.name)
        columns.cpu_weight[row] = cpu_weight(spec.cpu_request_milli)
        columns.cpu_limit_milli[row] = _limit(spec.cpu_limit_milli)
        columns.memory_limit_bytes[row] = _limit(spec.memory_limit_bytes)
        columns.oom_score_adj[row] = _oom_score_adj(spec, pod=pod)
        columns.cpu_mean_milli[row] = profile.cpu_milli
        columns.diurnal_amplitude[row] = profile.diurnal_amplitude
        columns.diurnal_phase_s[row] = profile.diurnal_phase_s
        columns.burst_ratio[row] = profile.burst_ratio
        columns.burst_factor[row] = profile.burst_factor
        columns.memory_base_bytes[row] = profile.memory_bytes
        columns.memory_growth_bytes_per_s[row] = profile.memory_growth_bytes_per_h / 3600.0
        columns.memory_growth_limit_bytes[row] = profile.memory_growth_limit_bytes
        columns.crash_per_s[row] = profile.crash_per_hour / 3600.0
        columns.cache_hunger[row] = profile.cache_hunger


def _limit(amount: int | None) -> float:
    return float("inf") if amount is None else float(amount)


def _oom_score_adj(spec: ContainerSpec, *, pod: PodRun) -> int:
    return oom_score_adj(
        qos=pod.spec.qos,
        is_critical=pod.spec.is_critical,
        memory_request_bytes=spec.memory_request_bytes,
        capacity_bytes=pod.node.spec.memory_bytes,
    )
