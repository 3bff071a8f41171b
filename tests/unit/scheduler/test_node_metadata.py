"""NodeMetadata: labels and annotations as numbers and instants, in the layouts of Go."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube.edge.settings import SettingsError
from scheduler.errors import ConfigError
from scheduler.framework.checks import check_score_plugin
from scheduler.framework.configuration import load_configuration
from scheduler.framework.cycle import CycleState
from scheduler.framework.profile import make_profiles
from scheduler.plugins.defaults import built_in_registry
from scheduler.plugins.metadata.go_layout import RFC3339, GoLayout
from scheduler.plugins.metadata.node_metadata import NodeMetadata, NodeMetadataArgs, read_number
from tests.unit.scheduler.worlds import make_facts, make_pending, make_snapshot

KEY = "example.com/value"


def make_plugin(**arguments):
    return NodeMetadata(NodeMetadataArgs(metadata_key=KEY, **arguments))


def scores(plugin, *values, held="labels"):
    nodes = [
        make_facts(f"n{i}", **({} if value is None else {held: {KEY: value}}))
        for i, value in enumerate(values)
    ]
    raw = plugin.score(CycleState(), pod=make_pending(), snapshot=make_snapshot(*nodes))
    return plugin.normalize(raw).tolist()


@pytest.mark.parametrize("key", ["cores", "name", "nowhere"])
def test_keeps_the_contract_of_a_score_plugin(key):
    check_score_plugin(NodeMetadata(NodeMetadataArgs(metadata_key=key)))


@pytest.mark.parametrize(
    ("arguments", "values", "expected"),
    [
        pytest.param({}, ["1", "2", "4"], [1, 34, 100], id="highest"),
        pytest.param({"scoring_strategy": "Lowest"}, ["1", "2", "4"], [100, 67, 1], id="lowest"),
        pytest.param({}, ["0.25", "0.5", "-1.5e-1"], [61, 100, 1], id="fractions"),
        pytest.param({}, ["7", "7"], [1, 1], id="all alike"),
        pytest.param({}, ["5", None, "many", "nan", "0x5", "9"], [1, 0, 0, 0, 0, 100], id="none"),
        pytest.param({}, [None, "many"], [0, 0], id="none anywhere"),
        pytest.param({}, ["1e300", "0", "-1e300"], [100, 50, 1], id="too large"),
    ],
)
def test_numbers_are_mapped_to_1_to_100(arguments, values, expected):
    assert scores(make_plugin(**arguments), *values) == expected


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [(None, [1, 50, 100, 0]), ("Newest", [1, 50, 100, 0]), ("Oldest", [100, 50, 1, 0])],
)
def test_annotations_may_hold_instants(strategy, expected):
    plugin = make_plugin(
        metadata_source="Annotation", metadata_type="Timestamp", scoring_strategy=strategy
    )
    values = ["2026-01-01T00:00:00Z", "2026-01-02T02:00:00+02:00", "2026-01-03T00:00:00Z", "now"]

    assert scores(plugin, *values, held="annotations") == expected


def test_labels_that_cannot_hold_colons_have_a_layout_of_their_own():
    plugin = make_plugin(metadata_type="Timestamp", timestamp_format="2006-01-02_15-04")

    assert scores(plugin, "2026-01-01_10-00", "2026-01-01_09-00") == [100, 1]


@given(st.lists(st.none() | st.integers(-(10**12), 10**12), min_size=1, max_size=8))
def test_what_has_a_value_outranks_what_has_none_and_the_ends_are_1_and_100(values):
    texts = [None if value is None else str(value) for value in values]
    known = [value for value in values if value is not None]

    found = scores(make_plugin(), *texts)

    for value, score in zip(values, found, strict=True):
        assert (score == 0) == (value is None)
        assert score <= 100
    if len(set(known)) > 1:
        assert found[values.index(max(known))] == 100
        assert found[values.index(min(known))] == 1
        order = np.argsort([v for v in values if v is not None], kind="stable")
        ranked = np.array([s for s in found if s])[order]
        assert (np.diff(ranked) >= 0).all()


@pytest.mark.parametrize(
    ("layout", "text", "unix_s"),
    [
        (RFC3339, "1970-01-02T00:00:00Z", 86400.0),
        (RFC3339, "1970-01-02T01:30:00.25+01:30", 86400.25),
        (RFC3339, "1970-01-02T00:00:00", None),
        (RFC3339, "1970-01-32T00:00:00Z", None),
        ("Mon Jan _2 15:04:05 2006", "Fri Jan  2 00:00:01 1970", 86401.0),
        ("Mon, 02 Jan 2006 15:04:05 MST", "Fri, 02 jan 1970 00:00:00 GMT", 86400.0),
        ("02 Jan 06 03:04PM", "02 Jan 70 12:30AM", 88200.0),
        ("2006-01-02 3:04 pm", "1970-01-01 11:00 pm", 82800.0),
        ("2006-01-02 3 pm", "1970-01-01 13 pm", None),
        ("20060102T150405-0700", "19700101T220000-0200", 86400.0),
        ("2006-002", "1970-032", 31 * 86400.0),
        ("2006-01-02T15-04-05.000", "1970-01-01T00-00-01.500", 1.5),
        ("2006-01-02T15-04-05.000", "1970-01-01T00-00-01.5", None),
        ("2006-01-02T15-04-05.999", "1970-01-01T00-00-01", 1.0),
        ("January 2, 2006", "February 1, 1970", 31 * 86400.0),
        ("06-1-2", "69-1-1", -365 * 86400.0),
        ("06-1-2", "68-1-1", 3092601600.0),
        ("15:04", "01:30", 946684800.0 + 5400.0),
    ],
)
def test_instants_are_read_as_go_reads_them(layout, text, unix_s):
    assert GoLayout(layout).parse(text) == unix_s


@pytest.mark.parametrize("text", ["", " 1", "1_000", "inf", "1e999", "1.2.3", "٣"])
def test_what_is_no_decimal_number_is_none(text):
    assert read_number(text) is None


ARGUMENTS = """
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
profiles:
  - plugins: {{multiPoint: {{enabled: [{{name: NodeMetadata}}]}}}}
    pluginConfig: [{{name: NodeMetadata, args: {args}}}]
"""


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ("{metadataKey: a, metadataSource: Taint}", "metadataSource"),
        ("{metadataKey: a, scoringStrategy: Newest}", "scoringStrategy"),
        ("{metadataKey: a, metadataType: Timestamp, scoringStrategy: Lowest}", "scoringStrategy"),
        ("{metadataKey: a, metadataType: Timestamp, timestampFormat: 2 2}", "timestampFormat"),
        ("{metadataKey: a, metadataType: Timestamp, timestampFormat: hh}", "timestampFormat"),
        ("{metadataKey: a, key: b}", "key"),
    ],
)
def test_wrong_arguments_stop_the_scheduler_by_name(tmp_path, args, why):
    path = tmp_path / "profile.yaml"
    path.write_text(ARGUMENTS.format(args=args))

    with pytest.raises(SettingsError, match=why) as caught:
        load_configuration(path, registry=built_in_registry())

    assert "NodeMetadata" in str(caught.value)


def test_a_format_beside_numbers_is_read_and_says_nothing():
    plugin = make_plugin(timestamp_format="2006-01-02")

    assert scores(plugin, "1", "3", "2026-01-01") == [1, 100, 0]


def test_without_a_key_there_is_nothing_to_go_by(tmp_path):
    path, registry = tmp_path / "profile.yaml", built_in_registry()
    path.write_text(ARGUMENTS.format(args="{}"))
    configuration = load_configuration(path, registry=registry)

    with pytest.raises(ConfigError, match="NodeMetadata: metadataKey"):
        make_profiles(configuration, registry=registry)
