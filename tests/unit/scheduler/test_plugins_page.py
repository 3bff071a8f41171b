"""The page of plugins says of each what is true: points, arguments, defaults, where to see it."""

import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import msgspec
import pytest

from scheduler.framework.configuration import load_configuration
from scheduler.framework.interface import (
    FilterPlugin,
    PermitPlugin,
    PluginArgs,
    PostBindPlugin,
    PostFilterPlugin,
    PreBindPlugin,
    PreEnqueuePlugin,
    PreFilterPlugin,
    PreScorePlugin,
    QueueSortPlugin,
    ReservePlugin,
    ScorePlugin,
)
from scheduler.framework.profile import make_profiles
from scheduler.plugins.defaults import built_in_registry

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "scheduler" / "plugins" / "PLUGINS.md").read_text()
SECTION = re.compile(r"^## (.+?)\n(.*?)(?=^## |\Z)", flags=re.MULTILINE | re.DOTALL)
SECTIONS = dict(SECTION.findall(PAGE))
REGISTRY = built_in_registry()
OURS = [plugin.name for plugin in REGISTRY if plugin.name not in REGISTRY.default_weights]
POINTS = (
    QueueSortPlugin,
    PreEnqueuePlugin,
    PreFilterPlugin,
    FilterPlugin,
    PostFilterPlugin,
    PreScorePlugin,
    ScorePlugin,
    ReservePlugin,
    PermitPlugin,
    PreBindPlugin,
    PostBindPlugin,
)
TOLD_OTHERWISE = {
    ("Coscheduling", "permitWaitingTimeSeconds"): "60 (so for 0)",
    ("GpuShare", "workload"): "learned",
    ("NodeMetadata", "scoringStrategy"): "`Highest`, `Newest`",
    ("NodeMetadata", "timestampFormat"): "RFC 3339",
    ("NodeResourceTopologyMatch", "cacheResyncPeriodSeconds"): "0",
    ("NodeResourceTopologyMatch", "scoringStrategy.resources"): "cpu 1, memory 1",
    ("NodeResourcesAllocatable", "resources"): "cpu 2²⁰, memory 1",
}
"""Defaults that are better told in another way than they are written down."""


def struct_in(kind: Any) -> type[msgspec.Struct] | None:
    """Find the one group of settings in a type, if it is one or none."""
    members = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    found = [m for m in members if isinstance(m, type) and issubclass(m, msgspec.Struct)]
    return found[0] if found else None


def arguments(kind: type[msgspec.Struct], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Go through arguments and defaults, as they are written in a profile."""
    common = {field.name for field in msgspec.structs.fields(PluginArgs)}
    for field in msgspec.structs.fields(kind):
        group = struct_in(field.type)
        if not prefix and field.name in common:
            continue
        if group is not None and field.encode_name != "metricProvider":
            yield from arguments(group, f"{prefix}{field.encode_name}.")
        else:
            has_factory = field.default_factory is not msgspec.NODEFAULT
            yield (
                prefix + field.encode_name,
                (field.default_factory() if has_factory else field.default),
            )


def told(section: str) -> dict[str, str]:
    """Read the tables of arguments: defaults by name."""
    rows: dict[str, str] = {}
    tables = re.findall(r"^\| Argument \| Default \|.*\n\|.*\n((?:\|.*\n)+)", section, re.MULTILINE)
    for row in "".join(tables).splitlines():
        names, default = row.split(" | ")[:2]
        for name in re.findall(r"`([^`]+)`", names.partition(" (")[0]):
            rows[name] = default.strip()
    return rows


def is_said(default: Any, text: str) -> bool:
    match default:
        case "" | None | () | {} | msgspec.NODEFAULT:
            return text.startswith("none")
        case bool():
            return text == str(default).lower()
        case int() | float():
            return text == f"{default:g}"
        case tuple():
            return text == f"`[{', '.join(default)}]`"
        case _:
            return text in (f"`{default}`", f'`"{default}"`')


def points_of(plugin: type[Any]) -> list[str]:
    points = [p.__name__.removesuffix("Plugin") for p in POINTS if issubclass(plugin, p)]
    if issubclass(plugin, ScorePlugin) and plugin.normalize is not ScorePlugin.normalize:
        points.insert(points.index("Score") + 1, "NormalizeScore")
    return points


def test_sections_are_in_alphabetical_order():
    names = [name for name in SECTIONS if name in OURS]

    assert names == sorted(names)
    assert set(names) == set(OURS)


@pytest.mark.parametrize("name", OURS)
def test_a_section_names_points_source_example_and_a_profile(name):
    section = SECTIONS[name].strip()
    points = re.match(
        r"\*([A-Za-z, ]+)\.\* (From scheduler-plugins|From a tutorial|Our own)", section
    )

    assert points is not None
    assert points[1].split(", ") == points_of(REGISTRY[name])
    assert "*Example.*" in section
    assert f"config/examples/plugins/{name}.yaml" in section
    assert (ROOT / "config" / "examples" / "plugins" / f"{name}.yaml").exists()
    assert re.search(r"Profiles? `", section)


@pytest.mark.parametrize("name", OURS)
def test_a_section_names_all_arguments_with_their_defaults_and_no_others(name):
    rows = told(SECTIONS[name])
    defaults = dict(arguments(REGISTRY[name].args_type))

    assert rows.keys() == defaults.keys()
    wrong = {
        key: (rows[key], default)
        for key, default in defaults.items()
        if rows[key] != TOLD_OTHERWISE.get((name, key)) and not is_said(default, rows[key])
    }
    assert wrong == {}


def test_what_is_told_otherwise_is_told_of_what_there_is():
    for name, key in TOLD_OTHERWISE:
        assert key in dict(arguments(REGISTRY[name].args_type))


def named_in(path: Path) -> set[str]:
    """Say which plugins the profiles of a file have; of one without its network, which it names."""
    registry = built_in_registry()
    profiles = make_profiles(load_configuration(path, registry=registry), registry=registry)
    return {name for profile in profiles.values() for name in profile.plugins()}


def test_every_plugin_is_in_a_shipped_profile():
    shipped = (ROOT / "config" / "profiles").glob("*.yaml")

    assert set(OURS) <= {name for path in shipped for name in named_in(path)}
