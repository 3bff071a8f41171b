"""The OpenAPI documents of the three programs."""

import json

import pytest

from collector.openapi import OPERATIONS as COLLECTOR
from kube.edge.openapi import document
from predictor.contract import PredictRequest
from predictor.openapi import OPERATIONS as PREDICTOR
from scheduler.api import OPERATIONS as SCHEDULER

PROGRAMS = pytest.mark.parametrize(
    "operations", [COLLECTOR, PREDICTOR, SCHEDULER], ids=["collector", "predictor", "scheduler"]
)


def describe(operations):
    return json.loads(json.dumps(document(title="example", operations=operations)))


def references(value):
    if isinstance(value, dict):
        for key, below in value.items():
            if key == "$ref":
                yield below.removeprefix("#/components/schemas/")
            yield from references(below)
    elif isinstance(value, list):
        for below in value:
            yield from references(below)


@PROGRAMS
def test_every_reference_leads_somewhere_and_every_component_is_used(operations):
    described = describe(operations)

    assert set(references(described)) == set(described["components"]["schemas"])


@PROGRAMS
def test_every_operation_is_there_once_with_what_any_request_may_earn(operations):
    described = [each for path in describe(operations)["paths"].values() for each in path.values()]

    assert len({each["operationId"] for each in described}) == len(operations) + 4
    assert all({"413", "422"} < set(each["responses"]) for each in described)


def test_parameters_of_path_and_query_are_described():
    paths = describe(COLLECTOR)["paths"]
    of_history = paths["/api/v1/nodes/{name}/history"]["get"]["parameters"]

    assert [(each["name"], each["in"]) for each in of_history] == [
        ("name", "path"),
        ("start", "query"),
        ("end", "query"),
        ("step", "query"),
    ]
    assert paths["/api/v1/placements"]["get"]["parameters"][1]["schema"]["maximum"] == 1000
    assert paths["/api/v1/snapshot"]["get"]["parameters"][0]["name"] == "If-None-Match"


def test_says_which_fields_a_body_must_have_and_that_unknown_ones_are_refused():
    described = describe(PREDICTOR)
    schemas = described["components"]["schemas"]

    assert schemas[PredictRequest.__name__]["additionalProperties"] is False
    assert schemas["Feedback"]["required"] == ["actual_node", "success"]
    assert described["paths"]["/predict"]["post"]["requestBody"]["required"]
    assert not described["paths"]["/model/retrain"]["post"]["requestBody"]["required"]
