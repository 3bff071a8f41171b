"""Model versions on disk: what is in service, what was before, and nothing that we did not write.

A version is two files in a directory of our own (mode 0700): ``model-000007.joblib``, and
``model-000007.json``, which says what it is and holds the SHA-256 that the first is checked
against before it is unpickled. ``active.json`` names the version in service. Every file appears by
an atomic rename. What does not fit is set aside under another name, never loaded, never deleted.
"""

import hashlib
import io
import logging
import os
import pickle
import re
import threading
from pathlib import Path
from typing import Final

import joblib
import msgspec
import sklearn

from kube.edge.logs import facts
from predictor.calibration import Calibration
from predictor.contract import ModelVersion
from predictor.forest import PackedForest
from predictor.rating import Model

log = logging.getLogger(__name__)

_ACTIVE: Final = "active.json"
_DAMAGE: Final = (
    pickle.UnpicklingError, EOFError, AttributeError, ImportError, IndexError, KeyError, TypeError,
    ValueError,
)  # fmt: skip


class UnusableModelError(Exception):
    """A version cannot be put in service; the message says why."""


class UnknownVersionError(Exception):
    """There is no such version."""


class ModelRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is written beside a model."""

    about: ModelVersion
    sha256: str
    sklearn_version: str
    last_feedback_id: int
    """The newest report that it learnt from."""
    learnt_until_s: float | None = None
    """When the newest placement was made that it learnt from; ``None`` in old records."""

    @property
    def unseen_after_s(self) -> float:
        """It has seen no placement made after this instant."""
        return self.about.trained_at_s if self.learnt_until_s is None else self.learnt_until_s


class _Active(msgspec.Struct, frozen=True):
    version: int
    """0: none."""


class Registry:
    """The versions in one directory, one of which may be in service.

    Args:
        directory: Created if need be; only this program may write there.
        keep_versions: How many to keep beside the one in service.
    """

    def __init__(self, directory: Path, *, keep_versions: int) -> None:
        self._directory = directory
        self._keep_versions = keep_versions
        self._lock = threading.RLock()
        self._active: tuple[Model, ModelRecord] | None = None
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
        for leftover in directory.glob(".candidate-*"):
            leftover.unlink()
        self._records = self._read_records()
        self._restore()

    @property
    def model(self) -> Model | None:
        """The model in service."""
        active = self._active
        return None if active is None else active[0]

    @property
    def record(self) -> ModelRecord | None:
        """What is known of the model in service."""
        active = self._active
        return None if active is None else active[1]

    def versions(self) -> list[ModelRecord]:
        """All versions, newest first."""
        with self._lock:
            return sorted(self._records.values(), key=lambda r: r.about.version, reverse=True)

    def candidate_path(self) -> Path:
        """Where a training may write its model before it is added."""
        return self._directory / f".candidate-{os.urandom(8).hex()}"

    def next_version(self) -> int:
        """A number that no version has had."""
        named = (re.match(r"model-(\d+)\.", p.name) for p in self._directory.glob("model-*"))
        return 1 + max((int(match[1]) for match in named if match), default=0)

    def add(self, candidate: Path, *, record: ModelRecord) -> None:
        """Add a version, and put it in service unless its record says why not.

        Args:
            candidate: A file at ``candidate_path()``; it is moved.
            record: With ``next_version()`` as its version.

        Raises:
            UnusableModelError: It should go in service, but cannot be loaded.
        """
        with self._lock:
            version = record.about.version
            candidate.chmod(0o600)
            candidate.rename(self._model_path(version))
            self._write(self._record_path(version), content=msgspec.json.encode(record))
            self._records[version] = record
            if _may_serve(record):
                self.activate(version)
            self._forget_oldest()

    def activate(self, version: int) -> None:
        """Put a version in service, at once for all later predictions.

        One that was found no better than another may be put in service all the same.

        Raises:
            UnknownVersionError: There is no such version.
            UnusableModelError: It is not trusted, or its file is damaged.
        """
        with self._lock:
            record = self._records.get(version)
            if record is None:
                raise UnknownVersionError(f"there is no version {version}")
            if not record.about.is_trusted:
                raise UnusableModelError(
                    f"version {version} is not trusted: {record.about.why_not_trusted}"
                )
            model = self._load(record)
            if not _may_serve(record):
                record = self._amend(record, why_not_in_service="")
            self._write(self._directory / _ACTIVE, content=msgspec.json.encode(_Active(version)))
            self._active = (model, record)
        log.info("model in service", extra=facts(version=version, rows=record.about.n_rows))

    def withdraw(self, version: int, *, why: str) -> None:
        """Trust a version no longer; if it is in service, none is from now on.

        What came before it learnt from an even older world, so it does not step in.
        """
        with self._lock:
            record = self._records.get(version)
            if record is None:
                return  # dropped meanwhile
            self._amend(record, is_trusted=False, why_not_trusted=why)
            if self._active is not None and self._active[0].version == version:
                self._write(self._directory / _ACTIVE, content=msgspec.json.encode(_Active(0)))
                self._active = None
        log.warning("model withdrawn", extra=facts(version=version, reason=why))

    def _amend(self, record: ModelRecord, **changes: bool | str) -> ModelRecord:
        about = msgspec.structs.replace(record.about, **changes)
        record = msgspec.structs.replace(record, about=about)
        version = about.version
        self._write(self._record_path(version), content=msgspec.json.encode(record))
        self._records[version] = record
        return record

    def in_service(self) -> tuple[Path, ModelRecord] | None:
        """Where the model in service is, and what is known of it."""
        record = self.record
        return None if record is None else (self._model_path(record.about.version), record)

    def roll_back(self) -> int:
        """Put the newest trusted version before the active one in service.

        What was found no better than the one then in service is passed over.

        Returns:
            Its number.

        Raises:
            UnusableModelError: There is none.
        """
        with self._lock:
            current = self.record
            below = float("inf") if current is None else current.about.version
            version = self._activate_newest(below=below)
        if version is None:
            raise UnusableModelError("there is no trusted version before the one in service")
        return version

    def _activate_newest(self, *, below: float) -> int | None:
        for record in self.versions():
            version = record.about.version
            if _may_serve(record) and version < below:
                try:
                    self.activate(version)
                except UnusableModelError:
                    continue  # logged and set aside; an older one may do
                return version
        return None

    def _restore(self) -> None:
        """Put that version in service which was, or the newest one before it that can be."""
        path = self._directory / _ACTIVE
        below = float("inf")
        try:
            below = msgspec.json.decode(path.read_bytes(), type=_Active).version + 1
        except FileNotFoundError:
            pass
        except (OSError, msgspec.DecodeError) as error:
            self._set_aside(path, why=str(error))
        self._activate_newest(below=below)

    def _read_records(self) -> dict[int, ModelRecord]:
        records = {}
        for path in sorted(self._directory.glob("model-*.json")):
            try:
                record = msgspec.json.decode(path.read_bytes(), type=ModelRecord)
            except (OSError, msgspec.DecodeError) as error:
                self._set_aside(path, why=str(error))
                continue
            version = record.about.version
            if path != self._record_path(version):
                self._set_aside(path, why=f"it is about version {version}")
                continue
            records[version] = record
        return records

    def _load(self, record: ModelRecord) -> Model:
        version = record.about.version
        path = self._model_path(version)
        try:
            return read_model(path, record=record)
        except OSError as error:
            self._records.pop(version, None)
            self._set_aside(self._record_path(version), why=str(error))
            raise UnusableModelError(f"version {version} cannot be read: {error}") from error
        except UnusableModelError as error:
            self._records.pop(version, None)
            self._set_aside(path, why=str(error))
            self._set_aside(self._record_path(version), why=str(error))
            raise

    def _forget_oldest(self) -> None:
        active = self.record
        others = [r for r in self.versions() if active is None or r is not active]
        # A row of untrusted candidates must not push out what one could roll back to.
        others.sort(key=lambda r: (r.about.is_trusted, r.about.version), reverse=True)
        for record in others[self._keep_versions :]:
            version = record.about.version
            del self._records[version]
            self._model_path(version).unlink(missing_ok=True)
            self._record_path(version).unlink(missing_ok=True)

    def _set_aside(self, path: Path, *, why: str) -> None:
        aside = path.with_name(f"{path.name}.unusable-{os.urandom(4).hex()}")
        try:
            path.rename(aside)
        except FileNotFoundError:
            return
        log.error(
            "model file set aside",
            extra=facts(file=str(path), set_aside_as=str(aside), reason=why),
        )

    def _write(self, path: Path, *, content: bytes) -> None:
        fresh = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(path)

    def _model_path(self, version: int) -> Path:
        return self._directory / f"model-{version:06}.joblib"

    def _record_path(self, version: int) -> Path:
        return self._directory / f"model-{version:06}.json"


def _may_serve(record: ModelRecord) -> bool:
    return record.about.is_trusted and not record.about.why_not_in_service


def read_model(path: Path, *, record: ModelRecord) -> Model:
    """Read a model file, if it is what its record says.

    Raises:
        OSError: It cannot be read.
        UnusableModelError: It is not what was written, or cannot be unpacked.
    """
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != record.sha256:
        raise UnusableModelError("its content is not what was written (SHA-256 differs)")
    if record.sklearn_version != sklearn.__version__:
        raise UnusableModelError(
            f"it was made by scikit-learn {record.sklearn_version}, this is {sklearn.__version__}"
        )
    try:
        stored = joblib.load(io.BytesIO(content))
        return Model(
            version=record.about.version,
            forest=PackedForest.pack(stored["classifier"]),
            calibration=Calibration(
                slope=stored["calibration_slope"], intercept=stored["calibration_intercept"]
            ),
        )
    except _DAMAGE as error:
        raise UnusableModelError(f"it cannot be unpacked: {error}") from error
