"""SySched: extraneous system calls, counted by the formula and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kube.custom import SeccompProfile, SeccompProfileSpec, SeccompSyscalls
from kube.objects import SeccompSource, SecurityContext
from kube.seccomp import localhost_profiles
from scheduler.framework.checks import check_score_plugin
from scheduler.framework.cycle import CycleState
from scheduler.framework.status import SKIP
from scheduler.plugins.syscalls.profiles import key_of
from scheduler.plugins.syscalls.sy_sched import SySched, SySchedArgs
from tests.builders import make_container, make_meta, make_pod
from tests.unit.scheduler.worlds import make_facts, make_pending, make_snapshot


def make_seccomp(name, *calls, namespace="default", action="SCMP_ACT_ALLOW", base=None):
    rules = [
        SeccompSyscalls(action=action, names=list(calls)),
        SeccompSyscalls(action="SCMP_ACT_ERRNO", names=["reboot"]),
    ]
    spec = SeccompProfileSpec(
        default_action="SCMP_ACT_ERRNO", syscalls=rules, base_profile_name=base
    )
    return SeccompProfile(metadata=make_meta(name, namespace=namespace), spec=spec)


def path_of(name, namespace="default"):
    return f"operator/{namespace}/{name}.json"


def pod_with(*profiles, name="new"):
    return make_pending(name, seccomp_profiles=tuple(path_of(each) for each in profiles))


def cluster(nodes, *profiles):
    """Make a cluster of nodes with pods, each told by the names of its profiles."""
    placed = [
        (pod_with(*each, name=f"p{row}-{i}"), f"n{row}")
        for row, pods in enumerate(nodes)
        for i, each in enumerate(pods)
    ]
    snapshot = make_snapshot(*(make_facts(f"n{row}") for row in range(len(nodes))), pods=placed)
    for each in profiles:
        snapshot.objects.put(each)
    return snapshot


def raw(snapshot, pod, plugin=None):
    plugin = plugin or SySched(SySchedArgs())
    feasible = np.ones(snapshot.n_nodes, dtype=np.bool_)
    status = plugin.pre_score(CycleState(), pod=pod, snapshot=snapshot, feasible=feasible)
    if status is SKIP:
        return None
    return plugin.score(CycleState(), pod=pod, snapshot=snapshot).tolist()


def test_keeps_the_contract_of_a_score_plugin():
    check_score_plugin(SySched(SySchedArgs()))


A, B, C = (make_seccomp(name, *name) for name in ("ab", "ac", "a"))
ALL = make_seccomp("all-syscalls", *"abcdefgh")


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        pytest.param([], 0, id="nobody there"),
        pytest.param([["ab"]], 0, id="one alike"),
        # The host adds c; of a, b, c, the first lacks b and the second b and c.
        pytest.param([["ac"], ["a"]], 1 + 1 + 2, id="two others"),
        pytest.param([["a"]], 0 + 1, id="one that may do less"),
        pytest.param([["ab", "ac"]], 1 + 0, id="containers together"),
        pytest.param([["lost"]], 6 + 0, id="a profile that is not there, so the default"),
        pytest.param([[]], 6 + 0, id="no profile, so the default"),
        pytest.param([["a"], []], 6 + 7 + 0, id="the host is all of them"),
    ],
)
def test_counts_the_pods_extraneous_calls_and_the_others(pods, expected):
    snapshot = cluster([pods, [["ac"]]], A, B, C, ALL)

    assert raw(snapshot, pod_with("ab")) == [expected, 2]


def test_the_fewest_extraneous_calls_are_best():
    scores = np.array([4, 1, 0])

    assert SySched(SySchedArgs()).normalize(scores).tolist() == [0, 75, 100]


@pytest.mark.parametrize(
    ("nodes", "profiles", "pod"),
    [
        pytest.param([[["ac"]]], [B], pod_with(), id="nothing is known of the pod"),
        pytest.param([[[]], [[]]], [ALL], pod_with(), id="all are alike"),
        pytest.param([[["lost"]]], [A], pod_with("ab"), id="nothing is known of the others"),
        pytest.param([[], []], [A], pod_with("ab"), id="there is nobody"),
    ],
)
def test_stands_aside_where_all_nodes_would_be_alike(nodes, profiles, pod):
    assert raw(cluster(nodes, *profiles), pod) is None


def test_pods_of_one_name_in_two_namespaces_both_count():
    snapshot = cluster([[["a"]]], A, C)
    twin = make_pending("p0-0", namespace="other", uid="twin", seccomp_profiles=(path_of("a"),))
    snapshot.add_pod(twin, node="n0")

    assert raw(snapshot, pod_with("ab")) == [2]


def test_follows_profiles_and_pods_as_they_change():
    plugin, snapshot = SySched(SySchedArgs()), cluster([[["ac"]], []], A, B)
    found = [raw(snapshot, pod_with("ab"), plugin)]

    snapshot.objects.put(make_seccomp("ac", *"acde"))
    found.append(raw(snapshot, pod_with("ab"), plugin))
    snapshot.add_pod(pod_with("ac", name="more"), node="n1")
    found.append(raw(snapshot, pod_with("ab"), plugin))

    assert found == [[2, 0], [4, 0], [4, 4]]


def test_a_profile_has_what_its_base_allows():
    snapshot = cluster(
        [[["one"]]], A, make_seccomp("one", "x", base="two"), make_seccomp("two", "y", base="one")
    )

    assert raw(snapshot, pod_with("ab")) == [2 + 2]


def test_what_is_logged_is_allowed_and_the_default_can_be_named():
    plugin = SySched(SySchedArgs(default_profile_namespace="ops", default_profile_name="usual"))
    usual = make_seccomp("usual", *"abc", namespace="ops", action="SCMP_ACT_LOG")

    assert raw(cluster([[[]]], A, usual), pod_with("ab"), plugin) == [1]


names = st.lists(st.sampled_from(["p", "q", "r", "lost"]), max_size=2, unique=True)
calls = st.lists(st.sampled_from("abcdef"), unique=True)


@settings(max_examples=60)
@given(
    nodes=st.lists(st.lists(names, max_size=4), min_size=1, max_size=4),
    profiles=st.fixed_dictionaries(dict.fromkeys(("p", "q", "r", "all-syscalls"), calls)),
    own=names,
)
def test_agrees_with_the_formula_pod_by_pod(nodes, profiles, own):
    snapshot = cluster(nodes, *(make_seccomp(name, *found) for name, found in profiles.items()))

    def may(pod):
        union = set().union(*(profiles.get(name, []) for name in pod))
        return union or set(profiles["all-syscalls"])

    def extraneous(pods):
        known = [may(pod) for pod in pods if may(pod)]
        host = set().union(*known)
        return len(host - may(own)) + sum(len((host | may(own)) - each) for each in known)

    found = raw(snapshot, pod_with(*own))

    expected = [extraneous(pods) for pods in nodes]
    assert found == expected or (found is None and len({*expected}) == 1) or not may(own)


def localhost(path):
    return SecurityContext(seccomp_profile=SeccompSource(type="Localhost", localhost_profile=path))


def test_a_containers_profile_outdoes_the_pods_and_fields_outdo_annotations():
    runtime = SecurityContext(seccomp_profile=SeccompSource(type="RuntimeDefault"))
    prefix = "container.seccomp.security.alpha.kubernetes.io/"
    pod = make_pod(
        "web",
        containers=[make_container(name) for name in ("own", "pods", "none", "noted")],
        init_containers=[
            make_container("setup"),
            make_container("sidecar", restart_policy="Always"),
        ],
        annotations={f"{prefix}noted": "localhost/noted.json", f"{prefix}own": "localhost/old"},
    )
    contexts = {
        "own": localhost("own.json"),
        "none": runtime,
        "setup": localhost("setup.json"),
        "sidecar": localhost("sidecar.json"),
    }
    spec = pod.spec
    spec = type(spec)(
        containers=[with_context(each, contexts) for each in spec.containers],
        init_containers=[with_context(each, contexts) for each in spec.init_containers],
        security_context=localhost("pods.json"),
    )

    found = localhost_profiles(type(pod)(metadata=pod.metadata, spec=spec))

    assert found == ("noted.json", "own.json", "pods.json", "sidecar.json")


def with_context(container, contexts):
    return type(container)(
        name=container.name,
        restart_policy=container.restart_policy,
        security_context=contexts.get(container.name),
    )


def test_the_pods_annotation_counts_for_containers_of_which_nothing_is_said():
    annotations = {"seccomp.security.alpha.kubernetes.io/pod": "localhost/operator/ns/p.json"}

    assert localhost_profiles(make_pod("web", annotations=annotations)) == ("operator/ns/p.json",)
    assert localhost_profiles(make_pod("web")) == ()


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("operator/ns/web.json", "ns/web"),
        ("ns/web.v1.json", "ns/web.v1"),
        ("ns/web", "ns/web"),
        ("web.json", "/web"),
    ],
)
def test_a_path_ends_with_namespace_and_name(path, key):
    assert key_of(path) == key
