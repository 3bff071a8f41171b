"""Plugins that rate nodes by what is used on them: their formulas' numbers, and their laws."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import special

from kube.edge.settings import SettingsError
from kube.quantity import CPU, MEMORY
from scheduler.cache import ClusterCache
from scheduler.framework.checks import check_score_plugin
from scheduler.framework.configuration import load_configuration
from scheduler.framework.cycle import CycleState
from scheduler.framework.profile import make_profiles
from scheduler.framework.snapshot import Snapshot
from scheduler.model import CpuTerms, Usage, UsageWindow
from scheduler.plugins.defaults import built_in_registry
from scheduler.plugins.load.arguments import MetricProvider
from scheduler.plugins.load.beta import beta_cdf, beta_cdf_at
from scheduler.plugins.load.load_variation import (
    LoadVariationRiskBalancing,
    LoadVariationRiskBalancingArgs,
)
from scheduler.plugins.load.low_risk import (
    LowRiskOverCommitment,
    LowRiskOverCommitmentArgs,
    limit_risk,
    p_load_within,
    p_load_within_at,
)
from scheduler.plugins.load.peaks import Peaks, PeaksArgs, PowerModel
from scheduler.plugins.load.target_load_packing import (
    TargetLoadPacking,
    TargetLoadPackingArgs,
    packing_score,
)
from tests.unit.scheduler.worlds import GI, make_facts, make_pending

SHIPPED = Path(__file__).parents[3] / "config" / "profiles" / "load-aware.yaml"
CAPACITY = {CPU: 4000, MEMORY: 10 * GI}
PLUGINS = [
    TargetLoadPacking(TargetLoadPackingArgs()),
    LoadVariationRiskBalancing(LoadVariationRiskBalancingArgs()),
    LowRiskOverCommitment(LowRiskOverCommitmentArgs()),
    Peaks(PeaksArgs(node_power_model={f"n{i}": PowerModel(k1=1 + i, k2=0.02) for i in range(24)})),
]


def make_snapshot(*used, pods=(), allocatable_milli=3000):
    """Make nodes n0, n1 … of 4 cores and 10 GiB.

    Args:
        used: Of each, (mean, std) of cpu in millicores and of memory in GiB; ``None``: not known.
        pods: With the number of their node.
        allocatable_milli: Which must not matter.
    """
    snapshot = Snapshot()
    for i in range(len(used)):
        name = f"n{i}"
        snapshot.set_node(make_facts(name, cpu_milli=allocatable_milli, capacity=CAPACITY))
    for pod, i in pods:
        snapshot.add_pod(pod, node=f"n{i}")
    known = {f"n{i}": each for i, each in enumerate(used) if each is not None}
    windows = {name: make_window(*each) for name, each in known.items()}
    snapshot.set_usage({name: w.mean for name, w in windows.items()}, windows=windows)
    return snapshot


def make_window(cpu, memory=(0, 0)):
    mean, std = (Usage(milli, int(gib * GI)) for milli, gib in zip(cpu, memory, strict=True))
    return UsageWindow(mean, std, 0.0, 900.0)


def pod_using(milli, **more):
    return make_pending(cpu_terms=CpuTerms(limited_milli=milli), **more)


def rate(plugin, snapshot, pod):
    return plugin.normalize(plugin.score(CycleState(), pod=pod, snapshot=snapshot)).tolist()


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: plugin.name)
def test_keeps_the_contract_of_a_score_plugin(plugin):
    assert plugin.reads_usage
    check_score_plugin(plugin)


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: plugin.name)
def test_what_is_not_known_is_never_the_best(plugin):
    pod = pod_using(400, cpu_milli=400, memory_bytes=GI)

    some = rate(plugin, make_snapshot(((1000, 10),), None), pod)
    none = rate(plugin, make_snapshot(None, None), pod)

    assert some[0] > some[1] == 0
    assert none == [0, 0]


# ------------------------------------------------------------------------- TargetLoadPacking


@pytest.mark.parametrize(
    ("percent", "score"),
    [(0, 40), (20, 70), (40, 100), (41, 39), (60, 27), (80, 13), (100, 0), (101, 0)],
)
def test_target_load_packing_has_the_published_numbers(percent, score):
    snapshot = make_snapshot(((40 * percent, 0),))

    assert rate(PLUGINS[0], snapshot, pod_using(0)) == [score]


def test_target_load_packing_counts_what_is_used_what_comes_and_what_is_new():
    """1000 used; 700 of pods too new to be measured; 300 of the pod: 2000 of 4000 are 50 %."""
    cache = ClusterCache(follows_usage=True)
    cache.set_node(make_facts("n0", cpu_milli=3000, capacity=CAPACITY))
    window = make_window((1000, 0))
    cache.set_usage({"n0": window.mean}, windows={"n0": window})
    cache.assume(pod_using(700, name="new"), node="n0", now_s=901.0)

    assert rate(PLUGINS[0], cache.snapshot, pod_using(300)) == [33]  # 40 · 50 / 60


@pytest.mark.parametrize(
    ("terms", "milli"),
    [
        pytest.param(CpuTerms(limited_milli=700), 700, id="a limit"),
        pytest.param(CpuTerms(requested_milli=333), 500, id="one and a half requests"),
        pytest.param(CpuTerms(n_unset=2), 2000, id="a core for each that says nothing"),
        pytest.param(CpuTerms(100, 200, 1), 1400, id="all together"),
    ],
)
def test_target_load_packing_foresees_a_pods_use(terms, milli):
    assert PLUGINS[0].sign_pod(make_pending(cpu_terms=terms)) == milli


@given(
    target=st.integers(1, 100),
    percents=st.lists(st.floats(0, 150), min_size=2, max_size=2),
)
def test_target_load_packing_climbs_to_the_target_and_falls_after_it(target, percents):
    low, high = sorted(percents)

    scores = packing_score(np.array([low, high]), target=target)

    assert ((scores >= 0) & (scores <= 100)).all()
    if high <= target:
        assert scores[0] <= scores[1]
    if low > target:
        assert scores[0] >= scores[1]


# ---------------------------------------------------------------- LoadVariationRiskBalancing


@pytest.mark.parametrize(
    ("cpu", "memory", "margin", "sensitivity", "score"),
    [
        pytest.param((1600, 400), (0, 0), 1, 1, 70, id="mean 0.5, deviation 0.1"),
        pytest.param((1600, 400), (6, 1), 1, 1, 60, id="memory is worse: 0.7 and 0.1"),
        pytest.param((1600, 400), (0, 0), 2, 1, 65, id="margin"),
        pytest.param((1600, 400), (0, 0), 1, 2, 59, id="sensitivity: root of 0.1"),
        pytest.param((1600, 400), (0, 0), 1, 0, 75, id="no sensitivity: 0"),
        pytest.param((1600, 4000), (0, 0), 1, 0, 25, id="no sensitivity, but all"),
        pytest.param((9000, 9000), (0, 0), 1, 1, 0, id="held to the capacity"),
    ],
)
def test_load_variation_adds_mean_and_deviation(cpu, memory, margin, sensitivity, score):
    args = LoadVariationRiskBalancingArgs(
        safe_variance_margin=margin, safe_variance_sensitivity=sensitivity
    )
    pod = make_pending(cpu_milli=400, memory_bytes=GI)

    snapshot = make_snapshot((cpu, memory))

    assert rate(LoadVariationRiskBalancing(args), snapshot, pod) == [score]


used = st.tuples(st.tuples(st.integers(0, 5000), st.integers(0, 3000)), st.just((0, 0)))


@given(some=used, more=used)
def test_load_variation_never_prefers_the_node_that_is_busier_and_less_steady(some, more):
    (cpu, memory), (more_cpu, _) = some, more
    busier = ((cpu[0] + more_cpu[0], cpu[1] + more_cpu[1]), memory)

    calm, busy = rate(PLUGINS[1], make_snapshot(some, busier), make_pending())

    assert calm >= busy


# --------------------------------------------------------------------- LowRiskOverCommitment


def test_limits_risk_what_is_not_there_of_what_pods_may_use_beyond_their_requests():
    requested, limited = np.array([2000.0, 2000.0, 4000.0]), np.array([6000.0, 3000.0, 5000.0])

    risks = limit_risk(requested, limited=limited, capacity=np.full(3, 4000.0))

    assert risks.tolist() == [0.5, 0.0, 1.0]


@pytest.mark.parametrize(
    ("requested", "limited", "mean", "std", "p"),
    [
        pytest.param(0.5, 2.0, 0.5, math.sqrt(1 / 12), 0.5, id="uniform, half"),
        pytest.param(0.25, 2.0, 0.5, math.sqrt(1 / 12), 0.25, id="uniform, a quarter"),
        pytest.param(0.25, 0.5, 0.5, math.sqrt(1 / 12), 0.5, id="given the limits"),
        pytest.param(0.0, 0.0, 0.3, 0.1, 1.0, id="nothing limited"),
        pytest.param(0.4, 2.0, 0.3, 0.0, 1.0, id="steady below"),
        pytest.param(0.2, 2.0, 0.3, 0.0, 0.0, id="steady above"),
        pytest.param(0.0, 2.0, 0.0, 0.0, 1.0, id="idle"),
        pytest.param(0.5, 2.0, 1 / 3, math.sqrt(1 / 18), 0.75, id="Beta(1, 2)"),
    ],
)
def test_a_loads_chance_to_stay_within_requests(requested, limited, mean, std, p):
    columns = [np.array([value]) for value in (requested, limited, mean, std)]

    found = p_load_within(columns[0], limited=columns[1], mean=columns[2], std=columns[3])

    assert found == pytest.approx([p], abs=1e-9)


@given(
    state=st.tuples(
        st.floats(0, 1), st.floats(0, 3), st.floats(0, 1), st.sampled_from([0.0, 0.01, 0.2, 3.0])
    )
)
@example(state=(0.0, 0.0, 5e-324, 0.01))
@example(state=(0.5, 0.75, 0.99999, 0.01))
def test_low_risk_finds_the_same_of_one_node_as_of_many(state):
    columns = [np.full((2, 1), each) for each in state]
    requested, limited, mean, std = state

    found = p_load_within(columns[0], limited=columns[1], mean=columns[2], std=columns[3])

    one = p_load_within_at(requested, limited=limited, mean=mean, std=std)
    # The distribution is known to 1e-9, and what is given is its quotient by that of the limit.
    p_limited = p_load_within_at(limited, limited=1.0, mean=mean, std=std)
    precision = max(1e-7, 1e-9 / max(p_limited, 1e-9))
    assert found.ravel().tolist() == pytest.approx([one, one], abs=precision)


def test_low_risk_rates_the_worse_of_the_two_by_limits_and_load():
    """By cpu: limits 2500 + 3500 of 4000 with 2000 requested risk 0.5; a load that is uniform
    (deviation 1/√12, of means over five samples 1/√60) stays within the 1000 requested in 1 of 4,
    and within the 2500 limited in 5 of 8."""
    held = make_pending(cpu_milli=1000, limits={CPU: 2500}, memory_bytes=0)
    pod = make_pending(cpu_milli=1000, limits={CPU: 3500}, memory_bytes=0)
    std_milli = round(4000 / math.sqrt(60))

    snapshot = make_snapshot(((2000, std_milli),), pods=[(held, 0)])

    assert rate(PLUGINS[2], snapshot, pod) == [45]  # 1 − (0.5 · 0.5 + 0.5 · (1 − 0.25 / 0.625))


@given(
    cpu=st.tuples(st.integers(0, 4000), st.integers(0, 2000)),
    limits=st.lists(st.integers(1000, 9000), min_size=2, max_size=2),
    limit=st.integers(0, 5000),
)
def test_low_risk_never_prefers_the_node_that_promises_more(cpu, limits, limit):
    pods = [
        (make_pending(f"p{i}", cpu_milli=1000, memory_bytes=0, limits={CPU: each}), i)
        for i, each in enumerate(sorted(limits))
    ]
    pod = make_pending(cpu_milli=100, memory_bytes=0, limits={CPU: limit})

    less, more = rate(PLUGINS[2], make_snapshot((cpu,), (cpu,), pods=pods), pod)

    assert less >= more


def test_low_risk_has_nothing_to_say_of_pods_that_ask_for_nothing():
    pod = make_pending(cpu_milli=0, memory_bytes=0)
    snapshot = make_snapshot(((2000, 0),))

    status = PLUGINS[2].pre_score(
        CycleState(), pod=pod, snapshot=snapshot, feasible=np.ones(1, dtype=np.bool_)
    )

    assert status.is_skip


@given(
    x=st.just(0.0) | st.floats(1e-12, 1),
    alpha=st.floats(0.01, 10_000),
    beta=st.floats(0.01, 10_000),
)
def test_the_beta_distribution_is_scipys_for_one_value_and_for_many(x, alpha, beta):
    found = beta_cdf(np.full(2, x), alpha=np.full(2, alpha), beta=np.full(2, beta))

    right = pytest.approx(special.betainc(alpha, beta, x), abs=1e-9)
    assert found.tolist() == [right, right]
    assert beta_cdf_at(x, alpha=alpha, beta=beta) == right


# ------------------------------------------------------------------------------------- Peaks


def peaks_of(**models):
    return Peaks(
        PeaksArgs(node_power_model={n: PowerModel(k1=a, k2=b) for n, (a, b) in models.items()})
    )


def test_peaks_prefers_the_least_rise_of_power():
    """From 25 to 50 % of 4 cores, e^(0.02·50) − e^(0.02·25) = 1.0696 W times 1, 2 and 3."""
    plugin = peaks_of(n0=(1, 0.02), n1=(2, 0.02), n2=(3, 0.02))
    snapshot = make_snapshot(*[((1000, 0),)] * 3)
    pod = pod_using(1000)

    raw = plugin.score(CycleState(), pod=pod, snapshot=snapshot)

    rise = math.exp(1.0) - math.exp(0.5)
    assert (raw / 1e12).tolist() == pytest.approx([rise, 2 * rise, 3 * rise])
    assert plugin.normalize(raw).tolist() == [100, 50, 0]


def test_peaks_gives_nothing_to_what_it_cannot_rate():
    """Upstream makes the node that would be overrun, and those without model, the best ones."""
    plugin = peaks_of(n0=(1, 0.02), n1=(1, 0.02), n3=(5, 0.02), n4=(1, 999.0))
    snapshot = make_snapshot(*[((1000, 0),)] * 5)
    snapshot.set_usage({**dict.fromkeys(snapshot.names, Usage(1000, 0)), "n1": Usage(3500, 0)})

    assert rate(plugin, snapshot, pod_using(1000)) == [100, 0, 0, 0, 0]
    # Of those that can be rated, n0 rises least and n3 most; n1 would be at 112 %, n2 has no model,
    # and n4's power is no number.


@given(
    milli=st.lists(st.integers(0, 2900), min_size=2, max_size=2),
    model=st.tuples(st.floats(0.1, 100), st.floats(0.001, 0.05)),
)
@example(milli=[0, 1014], model=(91.0, 0.046875))
def test_peaks_prefers_the_less_used_of_two_machines_whose_power_climbs_ever_steeper(milli, model):
    calm, busy = sorted(milli)
    plugin = peaks_of(n0=model, n1=model)

    scores = rate(plugin, make_snapshot(((calm, 0),), ((busy, 0),)), pod_using(1000))

    assert scores[0] == 100
    assert scores[1] == (100 if calm == busy else 0)


def test_peaks_says_that_it_has_no_model():
    assert Peaks(PeaksArgs()).lacks == "nodePowerModel: no node has one"
    assert not peaks_of(n0=(1, 0.02)).lacks


def test_peaks_rates_machines_alike_that_are_alike():
    plugin = peaks_of(n0=(1, 0.02), n1=(1, 0.02))

    assert rate(plugin, make_snapshot(((10, 0),), ((10, 0),)), pod_using(1000)) == [100, 100]


# --------------------------------------------------------------------------------- arguments


def load(tmp_path, plugin, args):
    path = tmp_path / "profile.yaml"
    path.write_text(
        "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"
        "profiles:\n"
        f"- plugins: {{multiPoint: {{enabled: [{{name: {plugin}}}]}}}}\n"
        f"  pluginConfig: [{{name: {plugin}, args: {args}}}]\n"
    )
    return load_configuration(path, registry=built_in_registry())


@pytest.mark.parametrize(
    ("plugin", "args", "message"),
    [
        ("TargetLoadPacking", "{targetUtilisation: 40}", "targetUtilisation: unknown key"),
        ("TargetLoadPacking", "{targetUtilization: 0}", "targetUtilization: Expected"),
        ("TargetLoadPacking", "{defaultRequests: {cpu: one}}", "defaultRequests: 'one'"),
        ("TargetLoadPacking", "{defaultRequestsMultiplier: much}", "defaultRequestsMultiplier"),
        ("TargetLoadPacking", "{metricProvider: {type: SignalFx}}", "metricProvider.type"),
        ("TargetLoadPacking", "{metricProvider: {type: Prometheus}}", "metricProvider: address"),
        ("TargetLoadPacking", "{metricProvider: {token: t}}", "metricProvider: .*token"),
        ("TargetLoadPacking", "{watcherAddress: 'w:2020'}", "watcherAddress: Expected"),
        ("TargetLoadPacking", "{defaultRequests: {cpu: -1}}", "cpu must not be negative"),
        ("TargetLoadPacking", "{defaultRequests: {gpu: 1}}", "defaultRequests.gpu: unknown key"),
        ("LoadVariationRiskBalancing", "{safeVarianceMargin: -1}", "safeVarianceMargin"),
        ("LowRiskOverCommitment", "{riskLimitWeights: {cpu: 2}}", "riskLimitWeights.cpu"),
        ("LowRiskOverCommitment", "{smoothingWindowSize: 0}", "smoothingWindowSize"),
        ("Peaks", "{nodePowerModel: {n1: {k1: 2}}}", "nodePowerModel.*k2"),
        ("Peaks", "{nodePowerModel: {n1: {k1: .nan, k2: 1}}}", "k1 must be a number"),
        ("Peaks", "{nodePowerModel: {n1: {k1: 1, k2: .inf}}}", "k2 must be a number"),
        ("NodeResourcesAllocatable", "{mode: Some}", "mode"),
        ("NodeResourcesAllocatable", "{resources: cpu}", "resources"),
    ],
)
def test_wrong_arguments_are_refused_with_plugin_and_field(tmp_path, plugin, args, message):
    with pytest.raises(SettingsError, match=f"{message}.*arguments of {plugin}"):
        load(tmp_path, plugin, args)


def test_upstreams_arguments_are_taken_as_they_stand(tmp_path):
    provider = "{type: Prometheus, address: 'https://p:9090', token: t, insecureSkipVerify: true}"

    configuration = load(
        tmp_path,
        "TargetLoadPacking",
        "{apiVersion: kubescheduler.config.k8s.io/v1, kind: TargetLoadPackingArgs,"
        " targetUtilization: 60, defaultRequests: {cpu: 500m},"
        f" defaultRequestsMultiplier: '1.2', metricProvider: {provider}}}",
    )

    [config] = configuration.profiles[0].plugin_config
    assert config.args.target_utilization == 60
    assert config.args.metric_provider == MetricProvider(
        type="Prometheus", address="https://p:9090", token="t", insecure_skip_verify=True
    )


def test_the_shipped_profile_goes_by_load_and_keeps_what_does_without(tmp_path):
    configuration = load_configuration(SHIPPED, registry=built_in_registry())

    profiles = make_profiles(configuration, registry=built_in_registry())

    ours = {
        "ai-scheduler": {"LoadVariationRiskBalancing": 12, "LowRiskOverCommitment": 3},
        "ai-scheduler-packing": {"TargetLoadPacking": 3, "NodeResourcesAllocatable": 1},
        "ai-scheduler-power": {"Peaks": 3},
    }
    assert profiles.keys() == ours.keys()
    for name, weights in ours.items():
        found = profiles[name].weights
        assert weights.items() <= found.items()
        assert found["NodeResourcesFit"] == 1
        assert "NodeResourcesBalancedAllocation" not in found
