"""Files for scheduler-plugins, in the form that upstream publishes, load unchanged."""

import re

import pytest

from kube.edge.settings import SettingsError
from scheduler.framework.configuration import load_configuration
from scheduler.framework.cycle import CycleState
from scheduler.framework.profile import make_profiles
from scheduler.plugins.defaults import built_in_registry
from tests.unit.scheduler.worlds import make_facts, make_pending, make_snapshot

HEAD = """\
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
leaderElection:
  leaderElect: false
clientConnection:
  kubeconfig: /etc/kubernetes/scheduler.conf
profiles:
- schedulerName: carried-over
"""

PEAKS = """\
  plugins:
    preScore: {disabled: [{name: "*"}]}
    score: {enabled: [{name: Peaks}], disabled: [{name: "*"}]}
  pluginConfig:
  - name: Peaks
    args:
      watcherAddress: http://127.0.0.1:2020
      nodePowerModel:
        worker-1: {k0: 471.7, k1: -91.5, k2: -0.07}
"""
TRIMARAN = """\
  plugins:
    score:
      disabled: [{name: NodeResourcesBalancedAllocation}, {name: NodeResourcesFit}]
      enabled:
      - name: TargetLoadPacking
      - name: LoadVariationRiskBalancing
      - name: LowRiskOverCommitment
  pluginConfig:
  - name: TargetLoadPacking
    args:
      defaultRequests: {cpu: 2, memory: 1Gi}
      defaultRequestsMultiplier: "2"
      targetUtilization: 70
      metricProvider: {type: KubernetesMetricsServer, insecureSkipVerify: true}
  - name: LoadVariationRiskBalancing
    args:
      safeVarianceMargin: 1
      safeVarianceSensitivity: 2
      metricProvider: {type: KubernetesMetricsServer, insecureSkipVerify: true}
  - name: LowRiskOverCommitment
    args:
      apiVersion: kubescheduler.config.k8s.io/v1
      kind: LowRiskOverCommitmentArgs
      smoothingWindowSize: 5
      riskLimitWeights: {cpu: 0.5, memory: 0.5}
"""
SIZES = """\
  plugins:
    score: {enabled: [{name: NodeResourcesAllocatable}], disabled: [{name: "*"}]}
  pluginConfig:
  - name: NodeResourcesAllocatable
    args:
      mode: Least
      resources: [{name: cpu, weight: 1000000}, {name: memory, weight: 1}]
"""
NETWORK = """\
  plugins:
    queueSort: {enabled: [{name: TopologicalSort}], disabled: [{name: "*"}]}
    preFilter: {enabled: [{name: NetworkOverhead}]}
    filter: {enabled: [{name: NetworkOverhead}]}
    score:
      disabled: [{name: NodeResourcesFit}]
      enabled: [{name: NetworkOverhead, weight: 5}]
  pluginConfig:
  - name: TopologicalSort
    args: {namespaces: [default]}
  - name: NetworkOverhead
    args:
      namespaces: [default]
      weightsName: UserDefined
      networkTopologyName: net-topology-test
"""
TRAFFIC = """\
  plugins:
    score: {enabled: [{name: NetworkTraffic}], disabled: [{name: "*"}]}
  pluginConfig:
  - name: NetworkTraffic
    args:
      prometheusAddress: http://prometheus-server.monitoring
      networkInterface: ens192
      timeRangeInMinutes: 3
"""
ZONES = """\
  plugins:
    preFilter: {enabled: [{name: NodeResourceTopologyMatch}]}
    filter: {enabled: [{name: NodeResourceTopologyMatch}]}
    reserve: {enabled: [{name: NodeResourceTopologyMatch}]}
    score: {enabled: [{name: NodeResourceTopologyMatch}]}
    postBind: {enabled: [{name: NodeResourceTopologyMatch}]}
  pluginConfig:
  - name: NodeResourceTopologyMatch
    args:
      cacheResyncPeriodSeconds: 5
      discardReservedNodes: false
      preemptionMode: Disabled
      cache:
        foreignPodsDetect: OnlyExclusiveResources
        resyncMethod: OnlyExclusiveResources
        informerMode: Shared
        resyncScope: All
      scoringStrategy:
        type: LeastAllocated
        resources: [{name: cpu, weight: 1}, {name: memory, weight: 1}]
"""


ALL = [plugin.name for plugin in built_in_registry()]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("args", "field"),
    [
        ("{bogus: 1}", "bogus: unknown key"),
        ("{kind: BogusArgs}", "args.kind: 'BogusArgs'"),
        ("{apiVersion: example.com/v1}", "apiVersion: Invalid"),
        ("[]", "args: Expected `object"),
    ],
)
def test_wrong_arguments_are_refused_with_line_plugin_and_field(tmp_path, name, args, field):
    path = tmp_path / "wrong.yaml"
    path.write_text(f"{HEAD}  pluginConfig:\n  - name: {name}\n    args: {args}\n")

    with pytest.raises(SettingsError) as refused:
        load_configuration(path, registry=built_in_registry())

    message = str(refused.value)
    assert re.match(rf"{path}:\d+: profiles\.0\.pluginConfig\.0", message)
    assert field in message
    assert f"(arguments of {name})" in message


NOTHING = """\
  plugins:
    score: {enabled: [{name: NodeResourcesAllocatable}, {name: NetworkOverhead}]}
  pluginConfig:
  - {name: NodeResourcesFit, args: {scoringStrategy: {resources: []}}}
  - {name: NodeResourcesBalancedAllocation, args: {resources: []}}
  - {name: NodeResourcesAllocatable, args: {resources: []}}
  - {name: NetworkOverhead, args: {namespaces: []}}
  - {name: InterPodAffinity, args: null}
"""


def test_arguments_that_name_nothing_are_the_default_ones(tmp_path):
    path, registry = tmp_path / "upstream.yaml", built_in_registry()
    path.write_text(HEAD + NOTHING)
    told = make_profiles(load_configuration(path, registry=registry), registry=registry)
    path.write_text(HEAD + NOTHING[: NOTHING.index("  pluginConfig")])
    untold = make_profiles(load_configuration(path, registry=registry), registry=registry)
    snapshot = make_snapshot(
        make_facts("small"), make_facts("large", cpu_milli=64_000), pods=[(make_pending(), "small")]
    )

    def rated(profiles):
        return [
            plugin.score(CycleState(), pod=make_pending("web"), snapshot=snapshot).tolist()
            for plugin in profiles["carried-over"].score
            if plugin.name.startswith("NodeResources")
        ]

    assert len(rated(told)) == 3
    assert rated(told) == rated(untold)


@pytest.mark.parametrize(
    ("profile", "rating"),
    [
        pytest.param(PEAKS, {"Peaks": 1}, id="Peaks"),
        pytest.param(
            TRIMARAN,
            {
                "TargetLoadPacking": 1,
                "LoadVariationRiskBalancing": 1,
                "LowRiskOverCommitment": 1,
            },
            id="trimaran",
        ),
        pytest.param(SIZES, {"NodeResourcesAllocatable": 1}, id="NodeResourcesAllocatable"),
        pytest.param(NETWORK, {"NetworkOverhead": 5}, id="network"),
        pytest.param(TRAFFIC, {"NetworkTraffic": 1}, id="NetworkTraffic"),
        pytest.param(ZONES, {"NodeResourceTopologyMatch": 1}, id="zones"),
    ],
)
def test_a_published_file_is_taken_as_it_stands(tmp_path, profile, rating):
    path = tmp_path / "upstream.yaml"
    path.write_text(HEAD + profile)
    registry = built_in_registry()

    made = make_profiles(load_configuration(path, registry=registry), registry=registry)

    assert rating.items() <= made["carried-over"].weights.items()
