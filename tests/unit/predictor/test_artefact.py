import zlib

import msgspec
import numpy as np
import pytest

from predictor.artefact import BadArtefactError, decode, encode
from predictor.calibration import Calibration
from predictor.forest import MAX_PACKED_ROWS, PackedForest
from tests.unit.predictor.test_forest import make_forest

CALIBRATION = Calibration(slope=0.8, intercept=-0.3)


KINDS = {
    "feature": "<i2",
    "threshold": "<f4",
    "children": "<i4",
    "p_success": "<f8",
    "roots": "<i4",
}


@pytest.fixture(scope="module")
def sound():
    classifier, _ = make_forest(1)
    content = encode(PackedForest.pack(classifier), calibration=CALIBRATION)
    stored = msgspec.msgpack.decode(zlib.decompress(content))
    return stored | {name: np.frombuffer(stored[name], kind) for name, kind in KINDS.items()}


def packed(**stored):
    columns = {
        name: stored[name].astype(kind).tobytes() for name, kind in KINDS.items() if name in stored
    }
    return zlib.compress(msgspec.msgpack.encode(stored | columns))


@pytest.mark.parametrize("seed", range(12))
def test_what_is_read_is_what_was_written(seed):
    classifier, matrix = make_forest(seed, max_depth=1 + seed, n_estimators=1 + 2 * seed)
    forest = PackedForest.pack(classifier)

    again, calibration = decode(encode(forest, calibration=CALIBRATION))

    assert calibration == CALIBRATION
    assert again.depth == forest.depth
    for rows in (matrix, np.resize(matrix, (MAX_PACKED_ROWS + 1, 13))):
        assert np.array_equal(again.predict_p_success(rows), forest.predict_p_success(rows))
        off = again.predict_p_success(rows) - classifier.predict_proba(rows)[:, 1]
        assert np.abs(off).max() < 1e-6
    assert np.array_equal(again.explain(matrix)[1], forest.explain(matrix)[1])


def changed(column, at, value):
    """The same array with one other value."""

    def change(stored):
        array = stored[column].copy()
        array[at] = value
        return {column: array}

    return change


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (changed("children", 0, 0), "leads nowhere"),
        (changed("children", 1, 10**6), "leads nowhere"),
        (changed("children", 1, -5), "leads nowhere"),
        (lambda stored: changed("children", 0, stored["roots"][1])(stored), "leads nowhere"),
        (changed("feature", 0, 13), "a feature that there is not"),
        (changed("feature", 0, -1), "a feature that there is not"),
        (changed("threshold", 0, np.nan), "no threshold"),
        (changed("p_success", 0, 1.5), "no probability"),
        (changed("p_success", 0, np.nan), "no probability"),
        (changed("roots", 0, 1), "do not follow"),
        (changed("roots", -1, 10**6), "do not follow"),
        (changed("roots", 1, 0), "do not follow"),
        (lambda stored: {"slope": -1.0}, "calibration"),
        (lambda stored: {"intercept": np.inf}, "calibration"),
        (lambda stored: {"slope": "1.0"}, "cannot be unpacked"),
        (lambda stored: {"p_success": stored["p_success"][1:]}, "not of one length"),
        (lambda stored: {"roots": stored["roots"][:0]}, "do not follow"),
        (lambda stored: {"format": 2}, "its format is 2"),
    ],
)
def test_what_would_lead_astray_is_refused(sound, change, why):
    assert decode(packed(**sound))

    with pytest.raises(BadArtefactError, match=why):
        decode(packed(**sound | change(sound)))


def test_what_lacks_a_part_is_refused(sound):
    for name in sound:
        with pytest.raises(BadArtefactError, match="cannot be unpacked"):
            decode(packed(**{n: part for n, part in sound.items() if n != name}))


def test_damaged_bytes_never_make_it_fail(sound):
    content = zlib.decompress(packed(**sound))
    dice = np.random.default_rng(5)
    n_refused = 0
    for _ in range(300):
        damaged = bytearray(content)
        for at in dice.integers(0, len(content), size=3):
            damaged[at] ^= 1 + int(dice.integers(255))
        try:
            decode(zlib.compress(bytes(damaged[: int(dice.integers(1, len(content) + 1))])))
        except BadArtefactError:
            n_refused += 1
    assert n_refused > 250


def test_what_would_fill_the_memory_is_refused(sound, monkeypatch):
    monkeypatch.setattr("predictor.artefact._MAX_BYTES", 1_000)

    with pytest.raises(BadArtefactError, match="cannot be unpacked"):
        decode(packed(**sound))
