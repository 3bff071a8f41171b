"""What a kubelet does with a pod: sandbox, starts, restarts, the end."""

import numpy as np

from scheduler.simulator import changes as ch
from scheduler.simulator.columns import ContainerColumns, NodeColumns
from scheduler.simulator.due import Due, Kind
from scheduler.simulator.parameters import Physics
from scheduler.simulator.physics import slow_down
from scheduler.simulator.pulls import Pulls
from scheduler.simulator.rows import Rows
from scheduler.simulator.runs import ContainerRun, NodeRun, Phase, PodRun, PodSpec
from scheduler.simulator.timeline import Timeline


class Lifecycle:
    """Takes pods from placement to their end, emitting what happens.

    Args:
        timeline: Where it plans what comes next.
        containers: The columns whose rows it fills and frees.
        nodes: Read for how busy and how fast a node is.
        seed: Part of every container's luck.
        physics: The constants.
    """

    def __init__(
        self,
        timeline: Timeline[Due],
        *,
        containers: ContainerColumns,
        nodes: NodeColumns,
        seed: int,
        physics: Physics,
    ) -> None:
        self.pods: dict[str, PodRun] = {}
        self.rows = Rows(containers, seed=seed, law=physics.cpu)
        self.emitted: list[ch.Change] = []
        self.next_tick_s = 0.0
        self._timeline = timeline
        self._columns = containers
        self._nodes = nodes
        self._cpu, self._law = physics.cpu, physics.pods
        self.pulls = Pulls(timeline, emitted=self.emitted, physics=physics)

    # --- coming and going

    def place(self, spec: PodSpec, *, node: NodeRun, now_s: float) -> None:
        """Take a pod in."""
        pod = PodRun(spec, node)
        pod.containers += [self.rows.add(container, pod=pod) for container in spec.containers]
        self.pods[spec.uid] = node.pods[spec.uid] = pod
        self._plan_sandbox(pod, now_s=now_s)

    def forget(self, pod: PodRun) -> None:
        """Let go of a pod and its rows."""
        pod.is_gone = True
        del self.pods[pod.spec.uid]
        del pod.node.pods[pod.spec.uid]
        for container in pod.containers:
            self.rows.drop(container)

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

    def on_container(self, due: Due, *, now_s: float) -> None:
        """A container's turn has come: to pull again, to start, to be ready, to finish."""
        container = due.container
        if container is None or container.pod.is_gone or due.epoch != container.epoch:
            return
        if due.kind is Kind.RETRY_PULL:
            self.pulls.prepare(container, now_s=now_s)
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
                self._plan_sandbox(pod, now_s=now_s)
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

    def _plan_sandbox(self, pod: PodRun, *, now_s: float) -> None:
        due = Due(Kind.SANDBOX, pod=pod, epoch=pod.node.epoch)
        self._plan(now_s + self._law.sandbox_s, due)

    def _proceed(self, pod: PodRun, *, now_s: float) -> None:
        """Prepare the next container, if it is not the turn of one that is under way."""
        if pod.is_gone or pod.is_stopping:
            return
        for container in pod.containers:
            if container.phase is Phase.WAITING and self.pulls.prepare(container, now_s=now_s):
                return
            if container.phase in (Phase.PULLING, Phase.CREATING):
                return
            if container.spec.role == "init" and container.phase is not Phase.DONE:
                return
            if container.spec.role == "sidecar" and container.phase is Phase.BACK_OFF:
                return

    def _start(self, container: ContainerRun, *, now_s: float) -> None:
        pod, profile = container.pod, container.spec.profile
        if pod.is_stopping:
            return
        container.phase = Phase.RUNNING
        container.epoch += 1
        self.rows.begin(container, now_s=now_s)
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
        slower = slow_down(
            float(nodes.cpu_milli[row] / nodes.cpu_capacity_milli[row]),
            hunger=container.spec.profile.cache_hunger,
            neighbours=float(nodes.hunger[row]),
            law=self._cpu,
        )
        return float(nodes.speed[row]) / slower

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
        if now_s - container.restarted_at_s > self._law.back_off_reset_s:
            container.back_off_s = 0.0
        law, wait_s = self._law, container.back_off_s
        if wait_s:
            self.emitted.append(
                ch.ContainerBackOff(
                    at_s=now_s,
                    pod=container.pod.spec.uid,
                    container=container.spec.name,
                    delay_s=wait_s,
                )
            )
        container.back_off_s = min(max(law.first_back_off_s, 2 * wait_s), law.max_back_off_s)
        container.restarted_at_s = now_s + max(wait_s, law.notice_s)
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
                self._plan(now_s + self._law.notice_s, due)
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
