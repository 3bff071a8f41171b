"""The page on the world's physics and the parameters of which it tells."""

import re
from pathlib import Path

import msgspec
import pytest

from kube.edge.settings import Settings
from scheduler.simulator import parameters
from scheduler.simulator.natures import Nature
from scheduler.simulator.parameters import Physics

PAGE = Path(parameters.__file__).parent / "PHYSICS.md"


def flatten(group, prefix=""):
    found = {}
    for name in group.__struct_fields__:
        value = getattr(group, name)
        if isinstance(value, Settings):
            found |= flatten(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def rows_of_page():
    rows = re.findall(r"^\| `([\w.]+)` \| ([\d.]+) \|", PAGE.read_text(), re.MULTILINE)
    return [(name, float(default)) for name, default in rows]


def test_every_parameter_stands_on_the_page_once_with_its_default():
    rows = rows_of_page()

    assert dict(rows) == flatten(Physics())
    assert len(rows) == len(dict(rows))


def test_what_was_fitted_stands_on_the_page():
    page = PAGE.read_text()

    for row, field in [
        ("cpu ratio", "cpu_ratio"),
        ("memory ratio", "memory_ratio"),
        ("diurnal amplitude", "diurnal_amplitude"),
        ("burst ratio", "burst_ratio"),
        ("burst factor", "burst_factor"),
    ]:
        [numbers] = re.findall(rf"^\| {row} \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|", page, re.M)
        fitted = getattr(Nature(), field).lognormal
        assert tuple(map(float, numbers)) == (fitted.median, fitted.sigma, fitted.max)


@pytest.mark.parametrize(
    "given",
    [
        {"tick_s": 0},
        {"cpu": {"max_utilization": 1.0}},
        {"memory": {"noise_ratio": 2}},
        {"nodes": {"max_pods": 0}},
        {"pods": {"sandbox_s": -1}},
        {"gravity": 9.81},
    ],
)
def test_constants_that_cannot_be_are_refused(given):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(given, Physics, strict=False)


def test_a_group_of_which_one_constant_is_given_keeps_the_others():
    physics = msgspec.convert({"pods": {"sandbox_s": 2}}, Physics, strict=False)

    assert flatten(physics) == flatten(Physics()) | {"pods.sandbox_s": 2.0}
