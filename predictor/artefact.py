"""A model as bytes: arrays in NumPy's ``npz``, read without unpickling, and checked.

Whoever can write to the database can put another model there, but cannot make a reader run code, or
walk out of an array.
"""

import io
import zipfile
import zlib
from itertools import pairwise
from typing import Any, Final

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
_DAMAGE: Final = (
    ValueError, TypeError, KeyError, EOFError, OSError, MemoryError, NotImplementedError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip
_LEAF: Final = -1
"""scikit-learn's mark of a child that is not there."""

Ints = NDArray[np.intp]


class BadArtefactError(Exception):
    """These bytes are no model; the message says why."""


def encode(forest: PackedForest, *, calibration: Calibration) -> bytes:
    """Write a model down; the same model is always the same bytes."""
    written = io.BytesIO()
    np.savez_compressed(
        written,
        format=np.array(_FORMAT),
        feature=forest.feature.astype(np.int16),
        threshold=forest.threshold,
        children=forest.children.astype(np.int32),
        p_success=forest.p_success,
        roots=forest.roots.astype(np.int32),
        calibration=np.array([calibration.slope, calibration.intercept]),
    )
    return written.getvalue()


def decode(content: bytes) -> tuple[PackedForest, Calibration]:
    """Read a model.

    Raises:
        BadArtefactError: It is damaged, or none of ours.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            if sum(part.file_size for part in packed.infolist()) > _MAX_BYTES:
                raise BadArtefactError(f"it is larger than {_MAX_BYTES} bytes")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            if int(arrays["format"]) != _FORMAT:
                raise BadArtefactError(f"its format is {arrays['format']}, not {_FORMAT}")
            feature, children, roots = (
                _column(arrays, name, kind=np.intp) for name in ("feature", "children", "roots")
            )
            threshold = _column(arrays, "threshold", kind=np.float32)
            p_success = _column(arrays, "p_success", kind=np.float64)
            slope, intercept = _column(arrays, "calibration", kind=np.float64).tolist()
    except _DAMAGE as error:
        raise BadArtefactError(f"it cannot be unpacked: {error}") from error
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


def _column(arrays: Any, name: str, *, kind: type) -> NDArray[Any]:
    column: NDArray[Any] = arrays[name]
    if column.ndim != 1 or column.dtype.kind != np.dtype(kind).kind:
        raise BadArtefactError(f"{name} is no column of numbers")
    return np.ascontiguousarray(column.astype(kind))


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
