import stat

import joblib
import msgspec
import pytest

from predictor.database import open_database
from predictor.records import ModelRecord
from predictor.registry import Registry
from predictor.training import train
from tests.unit.predictor.test_registry import add, numbers
from tests.unit.predictor.test_training import make_request


@pytest.fixture(scope="module")
def trained():
    """What a training gave."""
    return train(make_request())


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "models"


@pytest.fixture
def open_anew(tmp_path, directory):
    """Opens an empty database beside the directory of copies."""
    opened = []

    def open_one(keep_versions=5):
        database = open_database(f"sqlite:///{tmp_path}/{len(opened)}.db")
        opened.append(database)
        return Registry(database, directory=directory, keep_versions=keep_versions)

    yield open_one
    for database in opened:
        database.close()


def test_a_copy_is_scikit_learns_classifier(open_anew, directory, trained):
    add(open_anew(), trained)

    stored = joblib.load(directory / "model-000001.joblib")

    assert len(stored["classifier"].estimators_) == 10
    assert stored["calibration_slope"] > 0.0


def test_copies_are_for_their_owner_alone(open_anew, directory, trained):
    add(open_anew(), trained)

    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in directory.iterdir()}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert modes == {"model-000001.joblib": 0o600, "model-000001.json": 0o600}


def test_copies_go_with_their_versions(open_anew, directory, trained):
    registry = open_anew(keep_versions=1)
    for _ in range(3):
        add(registry, trained)

    assert sorted(p.name for p in directory.glob("*.joblib")) == [
        "model-000002.joblib",
        "model-000003.joblib",
    ]


def test_an_empty_database_takes_over_what_an_earlier_release_left(open_anew, directory, trained):
    before = open_anew()
    for _ in range(3):
        add(before, trained)
    (directory / "active.json").write_text('{"version": 2}')

    after = open_anew()

    assert after.model.version == 2
    assert after.record.about.n_rows == 120
    assert numbers(after) == [3, 2, 1]
    assert add(after, trained) == 4
    assert open_anew().model.version == 4


def test_a_withdrawn_model_stays_withdrawn(open_anew, directory, trained):
    add(open_anew(), trained)
    (directory / "active.json").write_text('{"version": 0}')

    assert open_anew().model is None


def test_a_database_with_versions_takes_nothing_over(tmp_path, trained):
    database = open_database(f"sqlite:///{tmp_path}/shared.db")
    add(Registry(database, directory=tmp_path / "a", keep_versions=5), trained)
    other = open_database(f"sqlite:///{tmp_path}/other.db")
    for _ in range(2):
        add(Registry(other, directory=tmp_path / "b", keep_versions=5), trained)

    joined = Registry(database, directory=tmp_path / "b", keep_versions=5)

    assert numbers(joined) == [1]
    assert len(list((tmp_path / "b").glob("*.joblib"))) == 2
    database.close()
    other.close()


def damage(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def test_a_damaged_copy_is_set_aside_and_the_one_before_taken(
    open_anew, directory, trained, caplog
):
    before = open_anew()
    add(before, trained)
    add(before, trained)
    damage(directory / "model-000002.joblib")

    after = open_anew()

    assert after.model.version == 1
    assert numbers(after) == [1]
    assert list(directory.glob("model-000002.joblib.unusable-*"))
    assert "model file set aside" in caplog.text


@pytest.mark.parametrize("name", ["model-000001.json", "model-000001.joblib"])
def test_a_damaged_only_copy_leaves_none_in_service(open_anew, directory, trained, name):
    add(open_anew(), trained)
    (directory / name).write_bytes(b"\x00 not what was written")

    after = open_anew()

    assert (after.model, after.versions()) == (None, [])
    assert list(directory.glob(f"{name}.unusable-*"))


def test_a_copy_that_is_not_ours_is_never_unpickled(open_anew, directory, trained):
    """A pickle that would run code, put in the place of a model."""
    add(open_anew(), trained)
    marker = directory / "executed"
    code = f"cos\nsystem\n(S'touch {marker}'\ntR.".encode()
    (directory / "model-000001.joblib").write_bytes(code)

    assert open_anew().model is None
    assert not marker.exists()


def test_a_missing_copy_leaves_the_one_before(open_anew, directory, trained):
    before = open_anew()
    add(before, trained)
    add(before, trained)
    (directory / "model-000002.joblib").unlink()

    assert open_anew().model.version == 1


def test_a_damaged_note_of_the_one_in_service_is_set_aside(open_anew, directory, trained):
    before = open_anew()
    add(before, trained)
    add(before, trained)
    (directory / "active.json").write_text("{")

    assert open_anew().model.version == 2
    assert list(directory.glob("active.json.unusable-*"))


def test_a_record_under_another_versions_name_is_set_aside(open_anew, directory, trained):
    add(open_anew(), trained)
    (directory / "model-000001.json").rename(directory / "model-000007.json")

    assert open_anew().versions() == []
    assert list(directory.glob("model-000007.json.unusable-*"))


def test_a_folder_in_the_place_of_a_record_is_set_aside(open_anew, directory, trained):
    before = open_anew()
    add(before, trained)
    add(before, trained)
    (directory / "model-000002.json").unlink()
    (directory / "model-000002.json").mkdir()

    assert open_anew().model.version == 1
    assert list(directory.glob("model-000002.json.unusable-*"))


def test_a_copy_for_another_scikit_learn_is_set_aside(open_anew, directory, trained):
    add(open_anew(), trained)
    path = directory / "model-000001.json"
    record = msgspec.json.decode(path.read_bytes(), type=ModelRecord)
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(record, sklearn_version="0.1")))

    assert open_anew().model is None


def test_a_copy_that_cannot_be_written_or_deleted_costs_no_model(
    open_anew, directory, trained, caplog
):
    registry = open_anew(keep_versions=1)
    (directory / "model-000001.json").mkdir()

    for _ in range(3):
        add(registry, trained)

    assert registry.model.version == 3
    assert numbers(registry) == [3, 2]
    assert "copy of a model not written" in caplog.text
    assert "copy of a model not deleted" in caplog.text
