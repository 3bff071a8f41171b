import json

import msgspec

from predictor import openapi
from predictor.contract import PredictRequest


def references(node):
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_every_reference_leads_somewhere():
    document = openapi.document("1.2.3")

    for reference in references(document):
        place = document
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]
        assert place


def test_is_plain_json_with_unique_operations():
    document = json.loads(msgspec.json.encode(openapi.document("1.2.3")))

    operations = [o for path in document["paths"].values() for o in path.values()]
    assert document["openapi"] == "3.1.0"
    assert document["info"]["version"] == "1.2.3"
    assert len({o["operationId"] for o in operations}) == len(openapi.OPERATIONS)
    assert all(o["responses"] for o in operations)


def test_says_that_unknown_fields_are_refused():
    schemas = openapi.document("1")["components"]["schemas"]

    assert schemas[PredictRequest.__name__]["additionalProperties"] is False
    assert schemas["Feedback"]["required"] == ["actual_node", "success"]
