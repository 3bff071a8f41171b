"""A model as bytes: columns of numbers in compressed MessagePack, read without unpickling, checked.

Whoever can write to the database can put another model there, but cannot make a reader run code, or
walk out of an array.
"""

import zlib
from itertools import pairwise
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from sklearn.tree._tree import Tree

from predictor.calibration import Calibration
from predictor.features import N_FEATURES
from predictor.forest import Floats, Matrix, PackedForest

_FORMAT: Final = 1
_MAX_BYTES: Final = 512 * 2**20
"""Unpacked; a forest of a hundred trees ten deep takes some three million."""
_MAX_DEPTH: Final = 10_000
_LEAF: Final = -1
"""scikit-learn's mark of a child that is not there."""

Ints = NDArray[np.intp]


class BadArtefactError(Exception):
    """These bytes are no model; the message says why."""


class _Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A packed forest and its calibration; columns as bytes, little-endian."""

    format: int
    feature: bytes
    """int16."""
    threshold: bytes
    """float32."""
    children: bytes
    """int32."""
    p_success: bytes
    """float64."""
    roots: bytes
    """int32."""
    slope: float
    intercept: float


def encode(forest: PackedForest, *, calibration: Calibration) -> bytes:
    """Write a model down; the same model is always the same bytes."""
    stored = _Stored(
        format=_FORMAT,
        feature=forest.feature.astype("<i2").tobytes(),
        threshold=forest.threshold.astype("<f4").tobytes(),
        children=forest.children.astype("<i4").tobytes(),
        p_success=forest.p_success.astype("<f8").tobytes(),
        roots=forest.roots.astype("<i4").tobytes(),
        slope=calibration.slope,
        intercept=calibration.intercept,
    )
    return zlib.compress(msgspec.msgpack.encode(stored))


def decode(content: bytes) -> tuple[PackedForest, Calibration]:
    """Read a model.

    Raises:
        BadArtefactError: It is damaged, or none of ours.
    """
    stored = _unpack(content)
    feature = _column(stored.feature, kind="<i2", into=np.intp)
    children = _column(stored.children, kind="<i4", into=np.intp)
    roots = _column(stored.roots, kind="<i4", into=np.intp)
    threshold = _column(stored.threshold, kind="<f4", into=np.float32)
    p_success = _column(stored.p_success, kind="<f8", into=np.float64)
    slope, intercept = stored.slope, stored.intercept
    depth = _check(
        feature, threshold=threshold, children=children, p_success=p_success, roots=roots
    )
    if not (np.isfinite([slope, intercept]).all() and slope >= 0.0):
        raise BadArtefactError("its calibration is none")
    bounds = [*roots.tolist(), len(feature)]
    parts = [slice(start, end) for start, end in pairwise(bounds)]
    forest = PackedForest(
        feature=feature,
        threshold=threshold,
        children=children,
        p_success=p_success,
        roots=roots,
        depth=depth,
        trees=tuple(
            _tree(
                feature[part],
                threshold=threshold[part],
                children=children.reshape(-1, 2)[part] - part.start,
                p_success=p_success[part],
                depth=depth,
            )
            for part in parts
        ),
        leaf_p=tuple(p_success[part] for part in parts),
    )
    return forest, Calibration(slope=slope, intercept=intercept)


def _unpack(content: bytes) -> _Stored:
    try:
        unpacked = zlib.decompressobj().decompress(content, _MAX_BYTES)
        stored = msgspec.msgpack.decode(unpacked, type=_Stored)
    except (zlib.error, msgspec.DecodeError) as error:
        raise BadArtefactError(f"it cannot be unpacked: {error}") from error
    if stored.format != _FORMAT:
        raise BadArtefactError(f"its format is {stored.format}, not {_FORMAT}")
    return stored


def _column(stored: bytes, *, kind: str, into: type) -> NDArray[Any]:
    try:
        return np.frombuffer(stored, dtype=kind).astype(into)
    except ValueError as error:
        raise BadArtefactError(f"a column is cut short: {error}") from error


def _check(
    feature: Ints, *, threshold: Matrix, children: Ints, p_success: Floats, roots: Ints
) -> int:
    """Check that every way down a tree stays in it and ends; give the length of the longest.

    Raises:
        BadArtefactError: One does not.
    """
    n = len(feature)
    if not n or not (len(threshold) == len(p_success) == n and len(children) == 2 * n):
        raise BadArtefactError("its columns are not of one length")
    if not len(roots) or roots[0] != 0 or (np.diff(roots) <= 0).any() or roots[-1] >= n:
        raise BadArtefactError("its trees do not follow one another")
    if (feature < 0).any() or (feature >= N_FEATURES).any():
        raise BadArtefactError("it asks for a feature that there is not")
    if np.isnan(threshold).any() or not ((p_success >= 0.0) & (p_success <= 1.0)).all():
        raise BadArtefactError("it holds what is no threshold, or no probability")
    node = np.arange(n)
    ends = np.repeat(np.append(roots[1:], n), np.diff(np.append(roots, n)))
    left, right = children[::2], children[1::2]
    is_leaf = (left == node) & (right == node)
    leads_down = (np.minimum(left, right) > node) & (np.maximum(left, right) < ends)
    if not (is_leaf | leads_down).all():
        raise BadArtefactError("a branch leads nowhere")
    depth, level = 0, roots
    while len(level := level[~is_leaf[level]]):
        depth += 1
        level = np.unique(np.concatenate([left[level], right[level]]))
        if depth > _MAX_DEPTH:
            raise BadArtefactError("a tree is too deep")
    return depth


def _tree(
    feature: Ints, *, threshold: Matrix, children: Ints, p_success: Floats, depth: int
) -> Tree:
    """Make scikit-learn's tree of checked arrays; indices count from its root.

    Raises:
        BadArtefactError: This release of scikit-learn has another idea of a tree.
    """
    n = len(feature)
    tree = Tree(N_FEATURES, np.array([2], dtype=np.intp), 1)
    # What an empty tree says its nodes are made of is what this release of scikit-learn takes.
    nodes = np.zeros(n, dtype=tree.__getstate__()["nodes"].dtype)
    is_leaf = children[:, 0] == np.arange(n)
    nodes["left_child"] = np.where(is_leaf, _LEAF, children[:, 0])
    nodes["right_child"] = np.where(is_leaf, _LEAF, children[:, 1])
    nodes["feature"] = feature
    nodes["threshold"] = threshold
    values = np.stack([1.0 - p_success, p_success], axis=1).reshape(n, 1, 2)
    state = {"max_depth": depth, "node_count": n, "nodes": nodes, "values": values}
    try:
        tree.__setstate__(state)
    except (ValueError, KeyError) as error:
        raise BadArtefactError(f"scikit-learn does not take its trees: {error}") from error
    return tree
