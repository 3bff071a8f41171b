"""The network as an ONNX file, which a scheduler reads without any deep-learning framework.

The graph is written out layer by layer: it is small, and PyTorch's own exporters need either a
package more or a way that is about to be dropped. A test holds it to the network.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from scheduler.plugins.learned.observation import (
    CLOCK_FEATURES,
    NODE_FEATURES,
    POD_FEATURES,
    QUEUE_FEATURES,
)
from scheduler.simulator.training.networks import IS_FEASIBLE, NodeRatingNetwork

OPSET: Final = 18
IR_VERSION: Final = 10
"""Of the file's format; older than the newest, so that older runtimes read it, too."""
N_NODES: Final = "n_nodes"
"""The name of the dimension that may have any size."""


def export_network(network: NodeRatingNetwork, path: Path, *, metadata: Mapping[str, str]) -> None:
    """Write the policy's part of a network: an observation in, ``n_nodes + 1`` logits out.

    Inputs are ``nodes``, ``pod``, ``queue`` and ``clock``, a single observation's; the output is
    ``logits``. An earlier file stays whole until the new one is.

    Args:
        network: As trained.
        path: Where to write.
        metadata: To be kept in the file.
    """
    graph = _Graph()
    context = graph.add("Concat", "pod", "queue", "clock", axis=0)
    first = graph.add(
        "Relu",
        graph.add(
            "Add",
            graph.linear(network.node_in, "nodes"),
            graph.linear(network.context_in, context),
        ),
    )
    hidden = graph.add("Relu", graph.linear(network.node_hidden, first))
    axis = graph.constant(np.array([0], dtype=np.int64))
    is_feasible = graph.add(
        "Gather", "nodes", graph.constant(np.array([IS_FEASIBLE], dtype=np.int64)), axis=1
    )
    feasible = graph.add("Mul", hidden, is_feasible)
    n_feasible = graph.add(
        "Max",
        graph.add("ReduceSum", is_feasible, axis, keepdims=0),
        graph.constant(np.ones(1, dtype=np.float32)),
    )
    mean = graph.add("Div", graph.add("ReduceSum", feasible, axis, keepdims=0), n_feasible)
    highest = graph.add("ReduceMax", feasible, axis, keepdims=0)
    summary = graph.add("Concat", context, mean, highest, axis=0)
    pooled = graph.add("Relu", graph.linear(network.pooled, summary))
    last = graph.add(
        "Relu",
        graph.add(
            "Add",
            graph.linear(network.node_last, hidden),
            graph.linear(network.pooled_last, pooled),
        ),
    )
    column = graph.constant(np.array([1], dtype=np.int64))
    node_logits = graph.add("Squeeze", graph.linear(network.node_logit, last), column)
    skip_logit = graph.linear(network.skip_logit, pooled)
    graph.add("Concat", node_logits, skip_logit, axis=0, output="logits")
    _write(graph.model(metadata), path)


class _Graph:
    """A graph in the making; every value has a name."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def add(self, operation: str, *inputs: str, output: str = "", **attributes: int) -> str:
        name = output or f"v{len(self._nodes)}"
        node = helper.make_node(operation, list(inputs), [name])
        node.attribute.extend(helper.make_attribute(*each) for each in attributes.items())
        self._nodes.append(node)
        return name

    def constant(self, values: NDArray[Any]) -> str:
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(values, name))
        return name

    def linear(self, layer: nn.Linear, value: str) -> str:
        weights = {name: each.detach().cpu().numpy() for name, each in layer.named_parameters()}
        matrix = self.constant(np.ascontiguousarray(weights["weight"].T))
        product = self.add("MatMul", value, matrix)
        if "bias" not in weights:
            return product
        return self.add("Add", product, self.constant(weights["bias"]))

    def model(self, metadata: Mapping[str, str]) -> onnx.ModelProto:
        inputs = [_tensor("nodes", N_NODES, len(NODE_FEATURES))]
        sizes = (("pod", POD_FEATURES), ("queue", QUEUE_FEATURES), ("clock", CLOCK_FEATURES))
        inputs += [_tensor(name, len(features)) for name, features in sizes]
        graph = helper.make_graph(
            self._nodes,
            "policy",
            inputs,
            [_tensor("logits", None)],
            initializer=self._constants,
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
        )
        helper.set_model_props(model, dict(metadata))
        onnx.checker.check_model(model, full_check=True)
        return model


def _tensor(name: str, *shape: int | str | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def _write(model: onnx.ModelProto, path: Path) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(model.SerializeToString())
    partial.replace(path)
