"""What the documentation promises to mention, it mentions."""

from pathlib import Path

import msgspec
import pytest
import yaml

from collector.openapi import OPERATIONS as COLLECTOR
from collector.settings import CollectorSettings
from kube.edge import openapi
from predictor.openapi import OPERATIONS as PREDICTOR
from predictor.settings import PredictorSettings
from scheduler.api import OPERATIONS as SCHEDULER
from scheduler.settings import SchedulerSettings

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {
    "collector": CollectorSettings,
    "predictor": PredictorSettings,
    "scheduler": SchedulerSettings,
}


def keys(group, prefix=""):
    for field in msgspec.structs.fields(group):
        default = field.default
        if isinstance(default, msgspec.Struct):
            yield from keys(type(default), f"{prefix}{field.encode_name}.")
        else:
            yield prefix + field.encode_name


def lookup(data, dotted):
    for part in dotted.split("."):
        data = data[part]
    return data


@pytest.mark.parametrize("program", SETTINGS)
def test_every_setting_stands_in_the_shipped_file(program):
    text = (ROOT / "config" / f"{program}.yaml").read_text()
    data = yaml.safe_load(text)

    missing = []
    for key in keys(SETTINGS[program]):
        try:
            lookup(data, key)
        except KeyError:
            missing.append(key)

    assert missing == []


def test_every_example_is_yaml_of_known_kinds():
    known = {"Pod", "Deployment", "PriorityClass", "Namespace"}
    for path in (ROOT / "config/examples").glob("*.yaml"):
        for document in yaml.safe_load_all(path.read_text()):
            assert document["kind"] in known, path


@pytest.mark.parametrize("operations", [COLLECTOR, PREDICTOR, SCHEDULER], ids=SETTINGS)
def test_every_endpoint_stands_in_the_readme(operations):
    readme = (ROOT / "README.md").read_text().replace("POST ", "")
    paths = openapi.document(title="", operations=operations)["paths"]

    assert [path for path in paths if f"`{path}" not in readme] == []
