"""Laws of elastic quotas that hold whatever happens, by books that are kept apart."""

from collections import Counter
from dataclasses import replace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from scheduler.events import (
    Bind,
    BindFailed,
    BindSucceeded,
    Evict,
    EvictFailed,
    ObjectSeen,
    PodGone,
    PodSeen,
    Tick,
)
from tests.unit.scheduler.quota_worlds import make_quota, make_quota_engine, pod_of
from tests.unit.scheduler.worlds import make_facts

GOVERNED = ("a", "b", "c")
RESOURCES = ("cpu", "memory")
NODES = ("n1", "n2", "n3")
amounts = st.tuples(st.integers(0, 6), st.integers(0, 6))


class AnyUse(RuleBasedStateMachine):
    """Pods come and go in namespaces with quotas and without; evictions and bindings may fail."""

    @initialize(
        guaranteed=st.tuples(amounts, amounts, amounts), extra=amounts, is_roomy=st.booleans()
    )
    def start(self, guaranteed, extra, is_roomy):
        self.min = {
            name: dict(zip(RESOURCES, each, strict=True))
            for name, each in zip(GOVERNED, guaranteed, strict=True)
        }
        # One namespace may borrow all there is, one something, one nothing.
        self.max = {
            "a": {},
            "b": self.beyond_min("b", extra),
            "c": dict(self.min["c"]),
        }
        quotas = [make_quota(name, min=self.min[name], max=self.max[name]) for name in GOVERNED]
        self.is_roomy = is_roomy
        size = 40 if is_roomy else 4
        nodes = [make_facts(name, cpu_milli=1000 * size, memory_bytes=size) for name in NODES]
        self.engine = make_quota_engine(*nodes, *quotas)
        self.pods, self.binding, self.going = {}, {}, set()
        self.now_s, self.n_made = 0.0, 0

    # ------------------------------------------------------------------------------ what happens

    @rule(
        namespace=st.sampled_from([*GOVERNED, "free"]),
        cpu=st.integers(0, 4),
        memory=st.integers(0, 4),
        priority=st.integers(0, 2),
    )
    def a_pod_comes(self, namespace, cpu, memory, priority):
        self.n_made += 1
        pod = pod_of(
            namespace,
            f"p{self.n_made}",
            cpu_milli=1000 * cpu,
            memory_bytes=memory,
            priority=priority,
        )
        self.pods[pod.uid] = pod
        self.tell(PodSeen(pod))

    @precondition(lambda self: self.pods)
    @rule(data=st.data())
    def a_pod_goes(self, data):
        self.forget(data.draw(st.sampled_from(sorted(self.pods))))

    @precondition(lambda self: self.going)
    @rule(data=st.data(), is_done=st.booleans())
    def an_eviction_is_settled(self, data, is_done):
        uid = data.draw(st.sampled_from(sorted(self.going)))
        if is_done:
            self.forget(uid)
        else:
            self.going.discard(uid)
            self.tell(EvictFailed(uid))

    @precondition(lambda self: self.binding)
    @rule(data=st.data(), is_done=st.booleans())
    def a_binding_is_settled(self, data, is_done):
        self.settle_binding(data.draw(st.sampled_from(sorted(self.binding))), is_done=is_done)

    @rule(name=st.sampled_from(GOVERNED), guaranteed=amounts, extra=st.none() | amounts)
    def a_quota_changes(self, name, guaranteed, extra):
        self.min[name] = dict(zip(RESOURCES, guaranteed, strict=True))
        self.max[name] = {} if extra is None else self.beyond_min(name, extra)
        self.tell(ObjectSeen(make_quota(name, min=self.min[name], max=self.max[name])))

    @rule(seconds=st.sampled_from([0.0, 1.0, 15.0]))
    def time_passes(self, seconds):
        self.now_s += seconds
        self.tell(Tick())

    def teardown(self):
        if not hasattr(self, "engine"):
            return
        for _ in range(10):
            for uid in sorted(self.going):
                self.forget(uid)
            for uid in sorted(self.binding):
                self.settle_binding(uid, is_done=True)
            self.time_passes(400.0)
        self.everyone_has_what_is_guaranteed()

    # ----------------------------------------------------------------------------------- the laws

    def tell(self, event):
        for action in self.engine.handle(event, now_s=self.now_s):
            match action:
                case Bind(pod, node):
                    self.binding[pod.uid] = node
                    self.pods[pod.uid] = replace(pod, node_name=node)
                    self.no_quota_is_exceeded(pod)
                case Evict():
                    self.only_whom_the_rules_allow(action)
                    self.going.add(action.victim.uid)

    def no_quota_is_exceeded(self, pod):
        if pod.namespace not in GOVERNED:
            return
        used = {name: self.used(name) for name in GOVERNED}
        asked = {r for r in RESOURCES if pod.requests[r]}
        for resource in asked:
            limit = self.max[pod.namespace].get(resource)
            assert limit is None or used[pod.namespace][resource] <= limit * unit(resource)
            total = sum(each[resource] for each in used.values())
            assert total <= sum(each[resource] for each in self.min.values()) * unit(resource)

    def only_whom_the_rules_allow(self, action):
        victim = action.victim
        pod = next(p for p in self.pods.values() if f"pod {p.uid} " in action.note)
        if pod.namespace not in GOVERNED:
            assert victim.namespace not in GOVERNED
            assert victim.priority < pod.priority
        elif victim.namespace == pod.namespace:
            assert victim.priority < pod.priority
        else:
            assert victim.namespace in GOVERNED
            assert self.is_within_min(pod)
            over = {r for r in RESOURCES if self.over_min(victim.namespace, r) > 0}
            assert over & {r for r in RESOURCES if pod.requests[r] and victim.requests[r]}

    def everyone_has_what_is_guaranteed(self):
        if not self.is_roomy:
            return
        waiting = [p for p in self.pods.values() if not p.node_name and p.namespace in GOVERNED]
        assert not [p for p in waiting if self.is_within_min(p) and self.is_within_max(p)]

    # ---------------------------------------------------------------------------------- the books

    def beyond_min(self, name, extra):
        return {r: self.min[name][r] + more for r, more in zip(RESOURCES, extra, strict=True)}

    def used(self, namespace, *, with_going=True):
        used = Counter()
        for uid, pod in self.pods.items():
            is_there = pod.node_name and (with_going or uid not in self.going)
            if is_there and pod.namespace == namespace:
                used.update(pod.requests)
        return used

    def over_min(self, namespace, resource):
        used = self.used(namespace, with_going=False)[resource]
        return used - self.min[namespace][resource] * unit(resource)

    def is_within_min(self, pod):
        return all(self.over_min(pod.namespace, r) + pod.requests[r] <= 0 for r in asked_by(pod))

    def is_within_max(self, pod):
        used, limits = self.used(pod.namespace), self.max[pod.namespace]
        return all(
            used[r] + pod.requests[r] <= limits[r] * unit(r) for r in asked_by(pod) if r in limits
        )

    def forget(self, uid):
        pod = self.pods.pop(uid)
        self.binding.pop(uid, None)
        self.going.discard(uid)
        self.tell(PodGone(pod.key, uid))

    def settle_binding(self, uid, *, is_done):
        node = self.binding.pop(uid)
        if is_done:
            self.tell(BindSucceeded(uid))
            self.tell(PodSeen(replace(self.pods[uid], node_name=node, start_time_s=1.0)))
        else:
            self.pods[uid] = replace(self.pods[uid], node_name="")
            self.going.discard(uid)
            self.tell(BindFailed(uid, "no luck"))


def asked_by(pod):
    return [resource for resource in RESOURCES if pod.requests[resource]]


def unit(resource):
    """Quotas are drawn in cores and bytes."""
    return 1000 if resource == "cpu" else 1


def test_quotas_are_kept_and_given_back_whatever_happens():
    run_state_machine_as_test(
        AnyUse,
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
