"""Profiles: upstream's file format, strictly read."""

import re
import textwrap
from pathlib import Path

import numpy as np
import pytest
import yaml

from kube.edge.settings import SettingsError
from scheduler.errors import ConfigError
from scheduler.framework.configuration import load_configuration
from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import PluginArgs, PreScorePlugin, ScorePlugin
from scheduler.framework.profile import make_profiles
from scheduler.framework.registry import ENTRY_POINTS, Registry
from scheduler.framework.runtime import FilterRun
from scheduler.framework.status import unschedulable
from scheduler.plugins.defaults import built_in_configuration, built_in_registry
from scheduler.plugins.node_name import NodeName
from tests.unit.scheduler.worlds import make_facts, make_pending, make_snapshot

HEAD = """\
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
"""
DEFAULT_SCORES = {
    "TaintToleration": 3,
    "NodeAffinity": 2,
    "NodeResourcesFit": 1,
    "VolumeBinding": 1,
    "PodTopologySpread": 2,
    "InterPodAffinity": 2,
    "NodeResourcesBalancedAllocation": 1,
    "ImageLocality": 1,
}


@pytest.fixture
def profiles(tmp_path):
    def load(text):
        path = tmp_path / "profile.yaml"
        path.write_text(HEAD + textwrap.dedent(text))
        registry = built_in_registry()
        return make_profiles(load_configuration(path, registry=registry), registry=registry)

    return load


class QuietArgs(PluginArgs, frozen=True):
    """Arguments of a plugin that is not ours."""

    loudness: int = 1


class Quiet(ScorePlugin):
    """A plugin that is not ours."""

    name = "Quiet"
    args_type = QuietArgs

    def score(self, state, *, pod, snapshot):
        return np.full(snapshot.n_nodes, self.args.loudness, dtype=np.int64)


def test_a_plugin_by_its_path_runs_with_its_weight_and_arguments(profiles):
    profile = profiles(f"""\
        profiles:
          - schedulerName: mine
            plugins: {{multiPoint: {{enabled: [{{name: "{__name__}:Quiet", weight: 4}}]}}}}
            pluginConfig: [{{name: "{__name__}:Quiet", args: {{loudness: 7}}}}]
    """)["mine"]

    [quiet] = [plugin for plugin in profile.score if plugin.name == "Quiet"]
    assert (profile.weights["Quiet"], quiet.args.loudness) == (4, 7)


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("no.such.module:Quiet", "No module named"),
        (f"{__name__}:Nothing", "'Nothing' in .* is no plugin"),
        (f"{__name__}:HEAD", "'HEAD' in .* is no plugin"),
        ("a b:c", "cannot be loaded"),
    ],
)
def test_a_path_that_leads_to_no_plugin_is_refused(profiles, path, what):
    with pytest.raises(ConfigError, match=what):
        profiles(f'profiles: [{{plugins: {{score: {{enabled: [{{name: "{path}"}}]}}}}}}]')


def test_installed_packages_offer_plugins_by_entry_point(tmp_path, monkeypatch):
    package = tmp_path / "quiet-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: quiet\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(f"[{ENTRY_POINTS}]\nQuiet = {__name__}:Quiet\n")
    monkeypatch.syspath_prepend(tmp_path)

    registry = built_in_registry()
    registry.add_installed()

    assert registry["Quiet"] is Quiet
    assert "Quiet" not in registry.default_weights


def test_one_pod_per_node_is_an_option_of_a_profile(profiles):
    [mine, other] = profiles(
        "profiles: [{schedulerName: mine, onePodPerNode: true}, {schedulerName: other}]"
    ).values()
    pods = [(make_pending("a", scheduler_name="mine"), "n1")]
    pods += [(make_pending("b", scheduler_name="other"), "n2")]
    snapshot = make_snapshot(make_facts("n1"), make_facts("n2"), pods=pods)

    def refused(profile):
        pod = make_pending("c", scheduler_name=profile.scheduler_name)
        found = FilterRun(profile, state=CycleState(), pod=pod, snapshot=snapshot).run()
        return found.statuses(snapshot.names, limit=9)

    assert refused(other) == {}
    assert refused(mine) == {
        "n1": ("OnePodPerNode", unschedulable("node(s) already run a pod of this profile"))
    }


def test_upstreams_defaults_hold_where_nothing_is_said(profiles):
    profile = profiles("profiles: [{schedulerName: mine}]")["mine"]

    assert profile.weights == DEFAULT_SCORES
    assert [plugin.name for plugin in profile.filter] == [
        "NodeUnschedulable",
        "NodeName",
        "TaintToleration",
        "NodeAffinity",
        "NodePorts",
        "NodeResourcesFit",
        "VolumeRestrictions",
        "NodeVolumeLimits",
        "VolumeBinding",
        "VolumeZone",
        "PodTopologySpread",
        "InterPodAffinity",
    ]
    assert [plugin.name for plugin in profile.pre_enqueue] == ["SchedulingGates"]


def test_what_upstreams_files_say_beside_profiles_is_read(profiles):
    [name] = profiles(
        """
        parallelism: 16
        percentageOfNodesToScore: 0
        leaderElection: {leaderElect: false}
        clientConnection:
          kubeconfig: REPLACE_ME_WITH_KUBE_CONFIG_PATH
          acceptContentTypes: ""
          contentType: application/vnd.kubernetes.protobuf
          qps: 50
          burst: 100
        enableProfiling: true
        enableContentionProfiling: false
        delayCacheUntilActive: false
        profiles: [{schedulerName: default-scheduler}]
        """
    )

    assert name == "default-scheduler"


@pytest.mark.parametrize(
    ("plugin", "points"),
    [
        ("Coscheduling", ["queueSort", "preFilter", "postFilter", "permit", "reserve"]),
        ("Coscheduling", ["multiPoint"]),
        ("CapacityScheduling", ["preFilter", "postFilter", "reserve"]),
        ("CapacityScheduling", ["multiPoint", "postFilter"]),
        ("PreemptionToleration", ["postFilter"]),
        ("CrossNodePreemption", ["postFilter"]),
        ("QOSSort", ["queueSort"]),
        ("PodState", ["score"]),
        ("SySched", ["score"]),
    ],
)
def test_plugins_may_be_enabled_where_upstreams_files_enable_them(profiles, plugin, points):
    entries = {point: {"enabled": [{"name": plugin}]} for point in points}
    for point in {"queueSort", "postFilter"} & {*points}:
        entries[point]["disabled"] = [{"name": "*"}]
    if points == ["multiPoint"]:
        entries["multiPoint"]["disabled"] = [{"name": "PrioritySort"}]
    found = profiles(yaml.safe_dump({"profiles": [{"plugins": entries}]}))["default-scheduler"]

    assert plugin in found.plugins()
    if "queueSort" in points or points == ["multiPoint"]:
        assert found.queue_sort.name == plugin
    if "postFilter" in points:
        assert [each.name for each in found.post_filter] == [plugin]


def test_a_plugin_is_one_instance_at_all_its_points(profiles):
    profile = profiles("profiles: [{schedulerName: mine}]")["mine"]

    [at_filter] = [p for p in profile.filter if p.name == "NodeAffinity"]
    assert at_filter in profile.score


@pytest.mark.parametrize(
    ("plugins", "weights"),
    [
        pytest.param(
            "{multiPoint: {enabled: [{name: NodePrediction, weight: 5}]}}",
            {**DEFAULT_SCORES, "NodePrediction": 5},
            id="enabled everywhere",
        ),
        pytest.param(
            "{score: {enabled: [{name: NodeResourcesFit, weight: 7}]}}",
            {**DEFAULT_SCORES, "NodeResourcesFit": 7},
            id="a point outdoes the default",
        ),
        pytest.param(
            "{multiPoint: {enabled: [{name: NodeResourcesFit, weight: 2}]},"
            " score: {enabled: [{name: NodeResourcesFit, weight: 7}]}}",
            {**DEFAULT_SCORES, "NodeResourcesFit": 7},
            id="a point outdoes multiPoint",
        ),
        pytest.param(
            '{score: {disabled: [{name: "*"}], enabled: [{name: NodePrediction}]}}',
            {"NodePrediction": 1},
            id="all disabled but one",
        ),
        pytest.param(
            "{score: {disabled: [{name: TaintToleration}]}}",
            {k: v for k, v in DEFAULT_SCORES.items() if k != "TaintToleration"},
            id="one disabled",
        ),
    ],
)
def test_plugins_are_enabled_disabled_and_weighed(profiles, plugins, weights):
    profile = profiles(f"profiles: [{{schedulerName: mine, plugins: {plugins}}}]")["mine"]

    assert profile.weights == weights
    assert "TaintToleration" in [plugin.name for plugin in profile.filter]


def test_arguments_are_spelled_as_upstream_spells_them(profiles):
    profile = profiles("""\
        profiles:
          - schedulerName: mine
            pluginConfig:
              - name: NodeResourcesFit
                args:
                  apiVersion: kubescheduler.config.k8s.io/v1
                  kind: NodeResourcesFitArgs
                  ignoredResourceGroups: [example.com]
                  scoringStrategy:
                    type: RequestedToCapacityRatio
                    resources: [{name: cpu, weight: 0}]
                    requestedToCapacityRatio:
                      shape: [{utilization: 0, score: 0}, {utilization: 100, score: 10}]
              - name: NodeResourcesBalancedAllocation
                args:
                  formula: v1.35
                  resources: [{name: cpu, weight: 1}, {name: memory, weight: 1}]
              - name: NodeAffinity
                args:
                  addedAffinity:
                    requiredDuringSchedulingIgnoredDuringExecution:
                      nodeSelectorTerms:
                        - matchExpressions: [{key: pool, operator: In, values: [a]}]
              - name: DynamicResources
                args: {filterTimeout: 10s}
        """)["mine"]

    args = {name: plugin.args for name, plugin in profile.plugins().items()}
    ratio = args["NodeResourcesFit"].scoring_strategy.requested_to_capacity_ratio
    added = args["NodeAffinity"].added_affinity
    assert [point.score for point in ratio.shape] == [0, 10]
    assert args["NodeResourcesBalancedAllocation"].formula == "v1.35"
    assert added.required_during_scheduling_ignored_during_execution is not None
    assert args["DynamicResources"].filter_timeout == 10.0


def test_arguments_reach_their_plugin(profiles):
    profile = profiles("""\
        profiles:
          - schedulerName: mine
            pluginConfig:
              - name: NodeResourcesFit
                args:
                  kind: NodeResourcesFitArgs
                  ignoredResources: [example.com/gpu]
                  scoringStrategy: {type: LeastAllocated, resources: [{name: cpu, weight: 3}]}
    """)["mine"]

    [fit] = [plugin for plugin in profile.score if plugin.name == "NodeResourcesFit"]
    assert fit.args.ignored_resources == ("example.com/gpu",)
    assert fit.args.scoring_strategy.resources[0].weight == 3


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        pytest.param("profile: []", ":3", "profile: unknown key", id="top level"),
        pytest.param(
            "profiles:\n  - schedulerName: mine\n    plugin: {}",
            ":5",
            "plugin: unknown key",
            id="in a profile",
        ),
        pytest.param(
            "profiles:\n  - pluginConfig:\n      - name: NodeResourcesFit\n        args:\n"
            "          ignoredResource: []",
            ":7",
            "ignoredResource: unknown key",
            id="in a plugin's arguments",
        ),
        pytest.param(
            "profiles:\n  - pluginConfig:\n      - {name: NodeResourceFit}",
            ":5",
            "NodeResourceFit",
            id="arguments of no plugin",
        ),
        pytest.param(
            "profiles:\n  - plugins: {score: {enabled: [{name: NodeName, weight: -1}]}}",
            ":4",
            "weight",
            id="a negative weight",
        ),
        pytest.param(
            "profiles:\n  - pluginConfig:\n      - name: PreemptionToleration\n        args:\n"
            "          {minCandidateNodesPercentage: 0, minCandidateNodesAbsolute: 0}",
            ":6",
            "minCandidateNodesAbsolute must not both be 0 .*PreemptionToleration",
            id="no node to try",
        ),
        pytest.param("profiles: []", ":3", "length", id="no profile"),
    ],
)
def test_a_key_that_nobody_reads_is_named_with_its_line(profiles, text, where, what):
    with pytest.raises(SettingsError, match=re.escape(f"profile.yaml{where}: ") + f".*{what}"):
        profiles(text)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        pytest.param(
            "profiles: [{plugins: {filter: {enabled: [{name: Nope}]}}}]",
            "no plugin 'Nope'; known are SchedulingGates",
            id="unknown plugin",
        ),
        pytest.param(
            "profiles: [{plugins: {score: {disabled: [{name: Nope}]}}}]",
            "no plugin 'Nope'",
            id="unknown plugin disabled",
        ),
        pytest.param(
            "profiles: [{plugins: {score: {enabled: [{name: NodeName}]}}}]",
            "NodeName is no ScorePlugin",
            id="at a point that it does not serve",
        ),
        pytest.param(
            "profiles: [{plugins: {filter: {enabled: [{name: NodeName}, {name: NodeName}]}}}]",
            "twice",
            id="enabled twice",
        ),
        pytest.param("profiles: [{}, {}]", "two profiles", id="two profiles of one name"),
        pytest.param(
            'profiles: [{plugins: {queueSort: {disabled: [{name: "*"}]}}}]',
            "one queueSort plugin, not 0",
            id="no queue order",
        ),
        pytest.param(
            "profiles: [{pluginConfig: [{name: NodeName}, {name: NodeName}]}]",
            "one plugin twice",
            id="arguments twice",
        ),
    ],
)
def test_a_profile_that_contradicts_itself_is_refused(profiles, text, what):
    with pytest.raises(ConfigError, match=what):
        profiles(text)


def test_what_is_wrong_with_a_profile_is_told_with_its_name(profiles):
    with pytest.raises(ConfigError, match=r"^profile 'batch': there is no plugin 'Nope'"):
        profiles(
            "profiles: [{}, {schedulerName: batch, plugins: {score: {enabled: [{name: Nope}]}}}]"
        )


@pytest.mark.parametrize(
    ("args", "what"),
    [
        ("{kind: ImageLocalityArgs}", "'ImageLocalityArgs' is not 'NodeAffinityArgs'"),
        ("{apiVersion: kubescheduler.config.k8s.io/v1beta3}", "args.apiVersion: Invalid"),
    ],
)
def test_arguments_of_another_kind_or_version_are_refused(profiles, args, what):
    with pytest.raises(SettingsError, match=rf"{what}.*\(arguments of NodeAffinity\)"):
        profiles(f"profiles: [{{pluginConfig: [{{name: NodeAffinity, args: {args}}}]}}]")


PREPARING = [
    plugin.name
    for plugin in built_in_registry()
    if issubclass(plugin, PreScorePlugin)
    and issubclass(plugin, ScorePlugin)
    # Its network's file is another story.
    and plugin.name != "LearnedPolicy"
]


@pytest.mark.parametrize("name", PREPARING)
def test_whoever_rates_nodes_looks_at_them_before_also_if_score_alone_is_named(profiles, name):
    address = "{prometheusAddress: 'http://p:9090'}" if name == "NetworkTraffic" else "{}"

    [profile] = profiles(
        f"""
        profiles:
          - plugins:
              preScore: {{disabled: [{{name: "*"}}]}}
              score: {{disabled: [{{name: "*"}}], enabled: [{{name: {name}}}]}}
            pluginConfig: [{{name: {name}, args: {address}}}]
        """
    ).values()

    assert [plugin.name for plugin in profile.pre_score] == [name]
    assert profile.pre_score == profile.score


def test_two_plugins_cannot_share_a_name():
    with pytest.raises(ConfigError, match="two plugins are called NodeName"):
        Registry([(NodeName, 0), (NodeName, 0)])


SHIPPED = Path(__file__).parents[3] / "config" / "profiles"


# ``learned`` names a network that training has yet to make.
COMPLETE = sorted(path for path in SHIPPED.glob("*.yaml") if path.stem != "learned")


@pytest.mark.parametrize("path", COMPLETE, ids=lambda path: path.stem)
def test_every_profile_in_the_repository_is_one_for_our_pods(path):
    configuration = load_configuration(path, registry=built_in_registry())

    assert "ai-scheduler" in make_profiles(configuration, registry=built_in_registry())


def test_the_profile_in_the_repository_is_the_built_in_one():
    path = SHIPPED / "ai.yaml"

    [on_disk] = make_profiles(
        load_configuration(path, registry=built_in_registry()), registry=built_in_registry()
    ).values()
    [built_in] = make_profiles(built_in_configuration(), registry=built_in_registry()).values()

    assert on_disk.scheduler_name == built_in.scheduler_name
    ours = {"NodePrediction": 6, "NodeLoad": 6}
    assert on_disk.weights == built_in.weights == {**DEFAULT_SCORES, **ours}
    assert list(on_disk.plugins()) == list(built_in.plugins())
