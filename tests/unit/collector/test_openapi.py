import json

from collector.openapi import OPERATIONS, document


def refs(value):
    if isinstance(value, dict):
        for key, below in value.items():
            if key == "$ref":
                yield below
            yield from refs(below)
    elif isinstance(value, list):
        for below in value:
            yield from refs(below)


def test_every_reference_leads_somewhere_and_every_component_is_used():
    described = json.loads(json.dumps(document("1")))

    named = {ref.removeprefix("#/components/schemas/") for ref in refs(described)}
    assert named == set(described["components"]["schemas"])


def test_operation_ids_and_paths_are_unique():
    described = document("1")
    ids = [path["get"]["operationId"] for path in described["paths"].values()]

    assert len(set(ids)) == len(ids) == len(OPERATIONS)


def test_parameters_of_path_and_query_are_described():
    described = document("1")
    get = described["paths"]["/api/v1/nodes/{name}/history"]["get"]

    assert [(p["name"], p["in"]) for p in get["parameters"]] == [
        ("name", "path"),
        ("start", "query"),
        ("end", "query"),
        ("step", "query"),
    ]
    limit = described["paths"]["/api/v1/placements"]["get"]["parameters"][1]
    assert limit["schema"]["maximum"] == 1000
