"""Copies of models in a directory of this replica's own: scikit-learn's classifiers, by joblib.

They are for whoever wants to look into a model with scikit-learn, and for one case more: a database
without any model takes over what is here, such as that of an earlier release, or the copies of a
database that was damaged. Only then is a copy unpickled, and only one whose SHA-256 is that in the
record beside it; nothing that comes from the database ever is.

A copy is two files in a directory of mode 0700: ``model-000007.joblib``, and ``model-000007.json``
with its record. Every file appears by an atomic rename. What does not fit is set aside under
another name, never loaded, never deleted.
"""

import hashlib
import io
import logging
import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import joblib
import msgspec
import sklearn

from kube.edge.logs import facts
from predictor.artefact import encode
from predictor.calibration import Calibration
from predictor.forest import PackedForest
from predictor.records import ModelRecord, may_serve

log = logging.getLogger(__name__)

_ACTIVE: Final = "active.json"
"""Which version was in service; written by releases that kept their models here alone."""
_DAMAGE: Final = (
    pickle.UnpicklingError, EOFError, AttributeError, ImportError, IndexError, KeyError, TypeError,
    ValueError,
)  # fmt: skip


class _Active(msgspec.Struct, frozen=True):
    version: int
    """0: none."""


@dataclass(frozen=True, slots=True)
class Adopted:
    """A copy, as it goes into the database."""

    record: ModelRecord
    content: bytes


class Exports:
    """The copies in one directory.

    Args:
        directory: Created if need be; only this program may write there.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)

    def write(self, classifier: bytes, *, record: ModelRecord) -> None:
        """Keep a copy; if it cannot be written, that is logged, for the database has the model.

        Args:
            classifier: As joblib wrote it.
            record: The record of the model in the database.
        """
        version = record.about.version
        sha256 = hashlib.sha256(classifier).hexdigest()
        beside = msgspec.structs.replace(record, sha256=sha256)
        try:
            self._write(self._model_path(version), content=classifier)
            self._write(self._record_path(version), content=msgspec.json.encode(beside))
        except OSError as error:
            log.warning("copy of a model not written", extra=facts(error=str(error)))

    def forget(self, versions: set[int]) -> None:
        """Delete the copies of some versions, as far as there are any."""
        for version in versions:
            for path in (self._model_path(version), self._record_path(version)):
                try:
                    path.unlink(missing_ok=True)
                except OSError as error:
                    log.warning("copy of a model not deleted", extra=facts(error=str(error)))

    def forget_active(self) -> None:
        """Delete the note of which version was in service, as the database has it now."""
        (self._directory / _ACTIVE).unlink(missing_ok=True)

    def adopt(self) -> tuple[list[Adopted], int]:
        """Read all copies, oldest first.

        Returns:
            What can be used, and the version that was in service: 0 if none was, and the newest
            that may serve if that is not known.
        """
        records = self._read_records()
        adopted = [a for version in sorted(records) if (a := self._read(records[version]))]
        usable = [a.record.about.version for a in adopted if may_serve(a.record)]
        active = self._read_active()
        return adopted, max((v for v in usable if active is None or v <= active), default=0)

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

    def _read_active(self) -> int | None:
        path = self._directory / _ACTIVE
        try:
            return msgspec.json.decode(path.read_bytes(), type=_Active).version
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            self._set_aside(path, why=str(error))
            return None

    def _read(self, record: ModelRecord) -> Adopted | None:
        version = record.about.version
        try:
            classifier = self._model_path(version).read_bytes()
        except OSError as error:
            self._set_aside(self._record_path(version), why=str(error))
            return None
        try:
            content = _repacked(classifier, record=record)
        except _DAMAGE as error:
            self._set_aside(self._model_path(version), why=str(error))
            self._set_aside(self._record_path(version), why=str(error))
            return None
        sha256 = hashlib.sha256(content).hexdigest()
        return Adopted(msgspec.structs.replace(record, sha256=sha256), content)

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


def _repacked(classifier: bytes, *, record: ModelRecord) -> bytes:
    """Turn a copy into a model's content.

    Raises:
        ValueError: It is not what was written, or for another scikit-learn; other exceptions of
            unpickling, too.
    """
    if hashlib.sha256(classifier).hexdigest() != record.sha256:
        raise ValueError("its content is not what was written (SHA-256 differs)")
    if record.sklearn_version != sklearn.__version__:
        raise ValueError(
            f"it was made by scikit-learn {record.sklearn_version}, this is {sklearn.__version__}"
        )
    stored = joblib.load(io.BytesIO(classifier))
    return encode(
        PackedForest.pack(stored["classifier"]),
        calibration=Calibration(
            slope=stored["calibration_slope"], intercept=stored["calibration_intercept"]
        ),
    )
