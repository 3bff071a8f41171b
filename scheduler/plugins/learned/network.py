"""An exported network, run by ONNX Runtime (the extra ``learned``)."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from scheduler.plugins.learned.observation import (
    CLOCK_FEATURES,
    NODE_FEATURES,
    OBSERVATION_VERSION,
    POD_FEATURES,
    QUEUE_FEATURES,
    Observation,
)

Logits = NDArray[np.float32]

VERSION_KEY: Final = "observation_version"
FEATURES_KEY: Final = "features"
FEATURES: Final = {
    "nodes": NODE_FEATURES,
    "pod": POD_FEATURES,
    "queue": QUEUE_FEATURES,
    "clock": CLOCK_FEATURES,
}
"""The network's inputs, each with what stands in its last dimension."""
OUTPUT: Final = "logits"


_N_TRIED: Final = (1, 3)
"""Numbers of nodes that a network is tried on: it must take any."""


class NetworkError(Exception):
    """A file holds no network that can be used here."""


class AbsentNetworkError(NetworkError):
    """There is no such file."""


class LearnedNetwork:
    """Rates nodes, and waiting.

    Args:
        session: Of ONNX Runtime.
        about: What the file says of itself.
    """

    def __init__(self, session: Any, *, about: Mapping[str, str]) -> None:
        self._session = session
        self.about = about

    def logits(self, observation: Observation) -> Logits:
        """Rate.

        Returns:
            Shape ``(n_nodes + 1,)``: of each node, and of leaving the pod where it is.
        """
        logits: Logits = self._session.run([OUTPUT], observation._asdict())[0]
        return logits


def own_metadata() -> dict[str, str]:
    """Return what a network's file must say to be used with our observations."""
    return {
        VERSION_KEY: str(OBSERVATION_VERSION),
        FEATURES_KEY: json.dumps(FEATURES, separators=(",", ":")),
    }


def load_network(path: Path) -> LearnedNetwork:
    """Read a network's file. Nothing in it is code: it can do no more than arithmetic.

    Raises:
        AbsentNetworkError: There is no such file.
        NetworkError: It cannot be read, holds no network, or one of other observations; or ONNX
            Runtime is not installed.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise AbsentNetworkError(f"there is no {path}") from error
    except OSError as error:
        raise NetworkError(f"cannot read {path}: {error.strerror}") from error
    session = _session(content, path=path)
    about = dict(session.get_modelmeta().custom_metadata_map)
    _check(about, path=path)
    given = {each.name: (each.shape or [None])[-1] for each in session.get_inputs()}
    if given != {name: len(features) for name, features in FEATURES.items()}:
        raise NetworkError(f"{path}: its inputs are not nodes, pod, queue and clock")
    if [each.name for each in session.get_outputs()] != [OUTPUT]:
        raise NetworkError(f"{path}: its output is not {OUTPUT!r}")
    network = LearnedNetwork(session, about=about)
    _try(network, path=path)
    return network


def _try(network: LearnedNetwork, *, path: Path) -> None:
    """Have it rate a few nodes, so that nothing about its shape is left for a decision to find out.

    Raises:
        NetworkError: It cannot, or not as it should.
    """
    from onnxruntime.capi import onnxruntime_pybind11_state as failures

    single = [
        np.zeros(len(FEATURES[name]), dtype=np.float32) for name in FEATURES if name != "nodes"
    ]
    for n_nodes in _N_TRIED:
        nodes = np.zeros((n_nodes, len(NODE_FEATURES)), dtype=np.float32)
        try:
            logits = network.logits(Observation(nodes, *single))
        except (failures.Fail, failures.InvalidArgument, failures.RuntimeException) as error:
            raise NetworkError(f"{path} cannot rate {n_nodes} node(s): {error}") from error
        if logits.shape != (n_nodes + 1,) or logits.dtype != np.float32:
            raise NetworkError(
                f"{path} gives {logits.dtype} of shape {logits.shape} for {n_nodes} node(s), not"
                f" float32 of shape {(n_nodes + 1,)}"
            )


def _session(content: bytes, *, path: Path) -> Any:
    # Here, for it is an extra that profiles without such a network do without.
    try:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as failures
    except ModuleNotFoundError as error:
        raise NetworkError(
            f"{path} needs onnxruntime, which is not installed (the extra `learned`)"
        ) from error
    options = onnxruntime.SessionOptions()
    # A decision is a fraction of a millisecond of arithmetic: more threads would cost more.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except (
        failures.Fail,
        failures.InvalidArgument,
        failures.InvalidGraph,
        failures.InvalidProtobuf,
        failures.NotImplemented,
        failures.RuntimeException,
    ) as error:
        raise NetworkError(f"{path} is no network that ONNX Runtime can run: {error}") from error


def _check(about: Mapping[str, str], *, path: Path) -> None:
    """Make sure that it was trained on what it will be shown.

    Raises:
        NetworkError: It was not.
    """
    version = about.get(VERSION_KEY)
    if version is None:
        raise NetworkError(f"{path} does not say what it observes: it was not exported by `train`")
    if version != str(OBSERVATION_VERSION):
        raise NetworkError(
            f"{path} was trained on observations of version {version}; this scheduler makes "
            f"version {OBSERVATION_VERSION}: train it anew"
        )
    if about.get(FEATURES_KEY) != own_metadata()[FEATURES_KEY]:
        raise NetworkError(f"{path} was trained on other features, or in another order")
