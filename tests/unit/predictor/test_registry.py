import logging
import shutil

import msgspec
import pytest

from predictor.registry import (
    ModelRecord,
    Registry,
    UnknownVersionError,
    UnusableModelError,
)
from predictor.training import train
from tests.unit.predictor.test_training import make_request


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model file and its record."""
    directory = tmp_path_factory.mktemp("trained")
    record = train(make_request(directory)).record
    return directory / "candidate-1", record


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "models"


def add(registry, trained, *, is_trusted=True, why_not_in_service=""):
    path, record = trained
    version = registry.next_version()
    about = msgspec.structs.replace(
        record.about,
        version=version,
        is_trusted=is_trusted,
        why_not_trusted="" if is_trusted else "of reasons",
        why_not_in_service=why_not_in_service,
    )
    candidate = registry.candidate_path()
    shutil.copy(path, candidate)
    registry.add(candidate, record=msgspec.structs.replace(record, about=about))
    return version


def open_registry(directory, keep_versions=5):
    return Registry(directory, keep_versions=keep_versions)


def numbers(registry):
    return [record.about.version for record in registry.versions()]


def test_a_trusted_model_goes_into_service_and_survives_a_restart(directory, trained):
    add(open_registry(directory), trained)

    again = open_registry(directory)

    assert again.model.version == 1
    assert again.record.about.n_rows == 120


def test_an_untrusted_candidate_never_replaces_a_trusted_model(directory, trained):
    registry = open_registry(directory)
    add(registry, trained)

    add(registry, trained, is_trusted=False)

    assert registry.model.version == 1
    assert open_registry(directory).model.version == 1
    assert numbers(registry) == [2, 1]


def test_a_challenger_that_is_no_better_waits_and_is_passed_over(directory, trained):
    registry = open_registry(directory)
    add(registry, trained)
    add(registry, trained, why_not_in_service="no better")
    assert registry.model.version == 1
    add(registry, trained)

    assert registry.roll_back() == 1
    assert open_registry(directory).model.version == 1


def test_a_challenger_that_is_no_better_serves_when_told_to_even_after_a_restart(
    directory, trained
):
    registry = open_registry(directory)
    add(registry, trained)
    add(registry, trained, why_not_in_service="no better")

    registry.activate(2)

    again = open_registry(directory)
    assert again.model.version == 2
    assert again.record.about.why_not_in_service == ""


def test_a_model_that_is_withdrawn_leaves_none_in_service_not_even_after_a_restart(
    directory, trained
):
    registry = open_registry(directory)
    add(registry, trained)
    add(registry, trained)

    registry.withdraw(2, why="the world has changed")

    again = open_registry(directory)
    assert (registry.model, again.model) == (None, None)
    assert again.versions()[0].about.why_not_trusted == "the world has changed"
    assert again.roll_back() == 1


def test_a_model_that_was_dropped_meanwhile_need_not_be_withdrawn(directory, trained):
    registry = open_registry(directory)
    add(registry, trained)

    registry.withdraw(9, why="the world has changed")

    assert registry.model.version == 1


def test_rolls_back_past_untrusted_versions_and_stays_there(directory, trained):
    registry = open_registry(directory)
    add(registry, trained)
    add(registry, trained, is_trusted=False)
    add(registry, trained)

    assert registry.roll_back() == 1
    assert open_registry(directory).model.version == 1
    with pytest.raises(UnusableModelError, match="no trusted version"):
        registry.roll_back()


def test_activates_any_trusted_version(directory, trained):
    registry = open_registry(directory)
    for _ in range(3):
        add(registry, trained)

    registry.activate(1)
    registry.activate(2)

    assert registry.model.version == 2


def test_refuses_versions_that_are_unknown_or_not_trusted(directory, trained):
    registry = open_registry(directory)
    add(registry, trained, is_trusted=False)

    with pytest.raises(UnusableModelError, match="of reasons"):
        registry.activate(1)
    with pytest.raises(UnknownVersionError, match="no version 9"):
        registry.activate(9)


def test_keeps_so_many_versions_and_the_one_in_service(directory, trained):
    registry = open_registry(directory, keep_versions=2)
    add(registry, trained)
    add(registry, trained)
    registry.activate(1)

    for _ in range(4):
        add(registry, trained, is_trusted=False)

    assert registry.model.version == 1
    assert numbers(registry) == [6, 2, 1]
    assert sorted(p.name for p in directory.glob("*.joblib")) == [
        "model-000001.joblib",
        "model-000002.joblib",
        "model-000006.joblib",
    ]


def damage(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def test_a_damaged_model_is_set_aside_and_the_one_before_serves(directory, trained, caplog):
    registry = open_registry(directory)
    add(registry, trained)
    add(registry, trained)
    damage(directory / "model-000002.joblib")

    with caplog.at_level(logging.ERROR):
        again = open_registry(directory)

    assert again.model.version == 1
    assert numbers(again) == [1]
    assert list(directory.glob("model-000002.joblib.unusable-*"))
    assert "model file set aside" in caplog.text


@pytest.mark.parametrize("name", ["model-000001.json", "model-000001.joblib"])
def test_a_damaged_only_model_leaves_none_in_service(directory, trained, name):
    add(open_registry(directory), trained)
    (directory / name).write_bytes(b"\x00 not what was written")

    again = open_registry(directory)

    assert again.model is None
    assert again.versions() == []
    assert list(directory.glob(f"{name}.unusable-*"))
    assert again.next_version() == 2


def test_a_file_that_is_not_ours_is_never_unpickled(directory, trained):
    """A pickle that would run code, put in the place of a model."""
    add(open_registry(directory), trained)
    marker = directory / "executed"
    code = f"cos\nsystem\n(S'touch {marker}'\ntR.".encode()
    (directory / "model-000001.joblib").write_bytes(code)

    assert open_registry(directory).model is None
    assert not marker.exists()


def test_a_missing_model_file_leaves_the_one_before_in_service(directory, trained):
    registry = open_registry(directory)
    add(registry, trained)
    add(registry, trained)
    (directory / "model-000002.joblib").unlink()

    assert open_registry(directory).model.version == 1


def test_a_damaged_pointer_is_set_aside_and_the_newest_serves(directory, trained):
    registry = open_registry(directory)
    add(registry, trained)
    add(registry, trained)
    (directory / "active.json").write_text("{")

    assert open_registry(directory).model.version == 2


def test_a_record_under_another_versions_name_is_set_aside(directory, trained, caplog):
    add(open_registry(directory), trained)
    (directory / "model-000001.json").rename(directory / "model-000007.json")

    assert open_registry(directory).versions() == []
    assert list(directory.glob("model-000007.json.unusable-*"))
    assert "model file set aside" in caplog.text


@pytest.mark.parametrize("name", ["model-000002.json", "active.json"])
def test_a_folder_in_the_place_of_a_file_is_set_aside(directory, trained, name):
    add(open_registry(directory), trained)
    (directory / name).unlink(missing_ok=True)
    (directory / name).mkdir()

    assert open_registry(directory).model.version == 1
    assert list(directory.glob(f"{name}.unusable-*"))


def test_a_model_of_another_scikit_learn_is_set_aside(directory, trained):
    add(open_registry(directory), trained)
    path = directory / "model-000001.json"
    record = msgspec.json.decode(path.read_bytes(), type=ModelRecord)
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(record, sklearn_version="0.1")))

    assert open_registry(directory).model is None


def test_what_an_interrupted_training_left_is_cleared_away(directory):
    directory.mkdir()
    (directory / ".candidate-0123").write_bytes(b"half a model")

    open_registry(directory)

    assert not list(directory.iterdir())
