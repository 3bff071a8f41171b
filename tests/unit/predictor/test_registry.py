import hashlib
import io
import logging
import os
import pickle
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import joblib
import msgspec
import numpy as np
import pytest

from predictor.database import open_database
from predictor.registry import Registry, UnknownVersionError, UnusableModelError
from predictor.schema import model_versions
from predictor.training import train
from tests.unit.predictor.test_training import make_request


@pytest.fixture(scope="module")
def trained():
    """What a training gave."""
    return train(make_request())


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "models"


@pytest.fixture
def open_registry(database_url, directory):
    """Opens the same database again and again, as restarts and replicas do."""
    with ExitStack() as stack:

        def opened(keep_versions=5):
            database = open_database(database_url)
            stack.callback(database.close)
            return Registry(database, directory=directory, keep_versions=keep_versions)

        yield opened


def add(registry, trained, *, is_trusted=True, why_not_in_service=""):
    about = msgspec.structs.replace(
        trained.record.about,
        is_trusted=is_trusted,
        why_not_trusted="" if is_trusted else "of reasons",
        why_not_in_service=why_not_in_service,
    )
    record = msgspec.structs.replace(trained.record, about=about)
    added = registry.add(trained.content, record=record, classifier=trained.classifier)
    return added.about.version


def numbers(registry):
    return [record.about.version for record in registry.versions()]


def overwrite(database_url, **values):
    """Do to version 2 what only somebody else would."""
    database = open_database(database_url)
    with database.writing() as connection:
        connection.execute(
            model_versions.update().where(model_versions.c.version == 2).values(values)
        )
    database.close()


def test_a_trusted_model_goes_into_service_and_survives_a_restart(open_registry, trained):
    add(open_registry(), trained)

    again = open_registry()

    assert again.model.version == 1
    assert again.record.about.n_rows == 120


def test_an_untrusted_candidate_never_replaces_a_trusted_model(open_registry, trained):
    registry = open_registry()
    add(registry, trained)

    add(registry, trained, is_trusted=False)

    assert registry.model.version == 1
    assert open_registry().model.version == 1
    assert numbers(registry) == [2, 1]


def test_a_challenger_that_is_no_better_waits_and_is_passed_over(open_registry, trained):
    registry = open_registry()
    add(registry, trained)
    add(registry, trained, why_not_in_service="no better")
    assert registry.model.version == 1
    add(registry, trained)

    assert registry.roll_back() == 1
    assert open_registry().model.version == 1


def test_a_challenger_that_is_no_better_serves_when_told_to_even_after_a_restart(
    open_registry, trained
):
    registry = open_registry()
    add(registry, trained)
    add(registry, trained, why_not_in_service="no better")

    registry.activate(2)

    again = open_registry()
    assert again.model.version == 2
    assert again.record.about.why_not_in_service == ""


def test_a_model_that_is_withdrawn_leaves_none_in_service_not_even_after_a_restart(
    open_registry, trained
):
    registry = open_registry()
    add(registry, trained)
    add(registry, trained)

    registry.withdraw(2, why="the world has changed")

    again = open_registry()
    assert (registry.model, again.model) == (None, None)
    assert again.versions()[0].about.why_not_trusted == "the world has changed"
    assert again.roll_back() == 1


def test_a_model_that_was_dropped_meanwhile_need_not_be_withdrawn(open_registry, trained):
    registry = open_registry()
    add(registry, trained)

    registry.withdraw(9, why="the world has changed")

    assert registry.model.version == 1


def test_rolls_back_past_untrusted_versions_and_stays_there(open_registry, trained):
    registry = open_registry()
    add(registry, trained)
    add(registry, trained, is_trusted=False)
    add(registry, trained)

    assert registry.roll_back() == 1
    assert open_registry().model.version == 1
    with pytest.raises(UnusableModelError, match="no trusted version"):
        registry.roll_back()


def test_activates_any_trusted_version(open_registry, trained):
    registry = open_registry()
    for _ in range(3):
        add(registry, trained)

    registry.activate(1)
    registry.activate(2)

    assert registry.model.version == 2


def test_refuses_versions_that_are_unknown_or_not_trusted(open_registry, trained):
    registry = open_registry()
    add(registry, trained, is_trusted=False)

    with pytest.raises(UnusableModelError, match="of reasons"):
        registry.activate(1)
    with pytest.raises(UnknownVersionError, match="no version 9"):
        registry.activate(9)


def test_keeps_so_many_versions_and_the_one_in_service(open_registry, trained):
    registry = open_registry(keep_versions=2)
    add(registry, trained)
    add(registry, trained)
    registry.activate(1)

    for _ in range(4):
        add(registry, trained, is_trusted=False)

    assert registry.model.version == 1
    assert numbers(registry) == [6, 2, 1]


def test_a_damaged_model_is_passed_over_and_the_one_before_serves(
    open_registry, trained, database_url, caplog
):
    registry = open_registry()
    add(registry, trained)
    add(registry, trained)
    overwrite(database_url, content=trained.content[:-100])

    with caplog.at_level(logging.ERROR):
        again = open_registry()

    newest = again.versions()[0].about
    assert again.model.version == 1
    assert (newest.version, newest.is_trusted) == (2, False)
    assert "SHA-256 differs" in newest.why_not_trusted
    assert "model cannot be read" in caplog.text
    with pytest.raises(UnusableModelError, match="SHA-256 differs"):
        again.activate(2)


def test_a_record_that_cannot_be_read_is_passed_over(open_registry, trained, database_url):
    registry = open_registry()
    add(registry, trained)
    add(registry, trained)
    overwrite(database_url, record=b"{")

    again = open_registry()

    assert again.model.version == 1
    assert numbers(again) == [1]
    assert add(again, trained) == 3


def forged(trained, content):
    """A model whose record fits, as whoever can write to the database can make."""
    sha256 = hashlib.sha256(content).hexdigest()
    return {
        "content": content,
        "record": msgspec.json.encode(
            msgspec.structs.replace(
                trained.record,
                sha256=sha256,
                about=msgspec.structs.replace(trained.record.about, version=2),
            )
        ),
    }


def test_nothing_from_the_database_is_unpickled(open_registry, trained, database_url, tmp_path):
    marker = tmp_path / "executed"

    class Bomb:
        def __reduce__(self):
            return os.system, (f"touch {marker}",)

    dumped = io.BytesIO()
    joblib.dump(Bomb(), dumped)
    npz = io.BytesIO()
    np.savez(npz, format=np.array([Bomb()], dtype=object))
    bombs = [pickle.dumps(Bomb()), dumped.getvalue(), npz.getvalue()]
    contents = bombs + [zlib.compress(bomb) for bomb in bombs]
    registry = open_registry()
    add(registry, trained)
    add(registry, trained)

    for content in contents:
        overwrite(database_url, **forged(trained, content))
        again = open_registry()
        assert again.model.version == 1
        assert "cannot be unpacked" in again.versions()[0].about.why_not_trusted
    assert not marker.exists()


def test_a_second_replica_takes_over_what_the_first_changes(open_registry, trained):
    first, second = open_registry(), open_registry()
    assert not second.refresh()

    add(first, trained)
    assert second.model is None
    assert second.refresh()
    assert second.model.version == 1
    add(second, trained)
    assert first.refresh()
    assert first.model.version == 2

    assert first.roll_back() == 1
    assert second.refresh()
    assert second.model.version == 1
    second.withdraw(1, why="the world has changed")
    assert first.refresh()
    assert first.model is None
    assert not first.refresh()


def test_no_two_replicas_give_the_same_number(open_registry, trained):
    registries = [open_registry(keep_versions=50) for _ in range(3)]
    with ThreadPoolExecutor(len(registries)) as pool:
        given = list(pool.map(lambda i: add(registries[i % 3], trained), range(12)))

    assert sorted(given) == list(range(1, 13))


def test_replicas_drop_old_versions_once(open_registry, trained):
    first, second = open_registry(keep_versions=2), open_registry(keep_versions=2)

    for i in range(6):
        add((first, second)[i % 2], trained)
        (second, first)[i % 2].refresh()

    assert numbers(first) == numbers(second) == [6, 5, 4]
    assert open_registry(keep_versions=2).model.version == 6


def test_a_number_is_never_given_twice(open_registry, trained):
    registry = open_registry(keep_versions=1)
    for _ in range(3):
        add(registry, trained, is_trusted=False)

    assert numbers(registry) == [3]
    assert add(open_registry(), trained) == 4
