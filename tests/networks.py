"""Exported networks made by hand, for tests that must not wait for a deep-learning framework."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from scheduler.plugins.learned.network import FEATURES, OUTPUT, own_metadata
from scheduler.plugins.learned.observation import NODE_FEATURES


def write_network(
    path: Path,
    *,
    weights: Mapping[str, float],
    metadata: Mapping[str, str] | None = None,
    output: str = OUTPUT,
    shapes: Mapping[str, Sequence[int]] | None = None,
    skips: bool = True,
) -> Path:
    """Write a network whose logits are weighted sums of a node's features; skipping has zero.

    Args:
        path: The file.
        weights: By feature of nodes.
        metadata: What it says of itself, if not that it is one of ours.
        output: Its name.
        shapes: Of inputs that are not as they should be.
        skips: Whether it rates skipping, as it should.
    """
    column = np.array([[weights.get(name, 0.0)] for name in NODE_FEATURES], dtype=np.float32)
    expected: dict[str, Sequence[int | str]] = {
        **{name: [len(features)] for name, features in FEATURES.items()},
        "nodes": ["n_nodes", len(NODE_FEATURES)],
        **(shapes or {}),
    }
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["nodes", "weights"], ["rated"]),
            helper.make_node("Squeeze", ["rated", "axis"], ["of_nodes"]),
            helper.make_node(
                "Concat", ["of_nodes", *(["zero"] if skips else [])], [output], axis=0
            ),
        ],
        "by-hand",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, dimensions)
            for name, dimensions in expected.items()
        ],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [None])],
        initializer=[
            numpy_helper.from_array(column, "weights"),
            numpy_helper.from_array(np.array([1], dtype=np.int64), "axis"),
            numpy_helper.from_array(np.zeros(1, dtype=np.float32), "zero"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, dict(own_metadata() if metadata is None else metadata))
    path.write_bytes(model.SerializeToString())
    return path
