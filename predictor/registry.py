"""Model versions in the database: what is in service, what was before; the same for all replicas.

Every change raises a revision, by which the other replicas notice it. A version that cannot be read
is not served: the newest trusted one before it is, by every replica alike.
"""

import hashlib
import logging
import threading
from pathlib import Path

import msgspec
import sqlalchemy as sa

from kube.edge.logs import facts
from predictor.artefact import BadArtefactError, decode
from predictor.database import Database
from predictor.exports import Exports
from predictor.rating import Model
from predictor.records import ModelRecord, may_serve
from predictor.schema import model_state, model_versions

log = logging.getLogger(__name__)

_NOTHING = {"revision": 0, "active_version": 0, "last_version": 0}


class UnusableModelError(Exception):
    """A version cannot be put in service; the message says why."""


class UnknownVersionError(Exception):
    """There is no such version."""


class Registry:
    """The versions in one database, one of which may be in service; safe to use from many threads.

    Args:
        database: An open database, which whoever opened it closes.
        directory: Where copies for scikit-learn are written (``predictor.exports``); if the
            database holds no version yet, those that are there are taken over.
        keep_versions: How many to keep beside the one in service.
    """

    def __init__(self, database: Database, *, directory: Path, keep_versions: int) -> None:
        self._database = database
        self._exports = Exports(directory)
        self._keep_versions = keep_versions
        self._lock = threading.RLock()
        self._revision = 0
        self._records: dict[int, ModelRecord] = {}
        self._active: tuple[Model, ModelRecord] | None = None
        self._unusable: dict[str, str] = {}
        """Why contents that cannot be read cannot be, by SHA-256."""
        self._adopt()
        self.refresh()

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

    def in_service(self) -> tuple[Model, ModelRecord] | None:
        """Both, of one instant."""
        return self._active

    @property
    def shown(self) -> ModelRecord | None:
        """What is known of the model in service or, without one, of the newest candidate."""
        return self.record or next(iter(self.versions()), None)

    def versions(self) -> list[ModelRecord]:
        """All versions, newest first."""
        with self._lock:
            return sorted(self._records.values(), key=lambda r: r.about.version, reverse=True)

    def refresh(self) -> bool:
        """Take over what other replicas changed; tell whether they did."""
        with self._lock:
            with self._database.reading() as connection:
                state = _state(connection)
                if state["revision"] == self._revision:
                    return False
                rows = connection.execute(
                    sa.select(model_versions.c.version, model_versions.c.record)
                ).all()
            before = set(self._records)
            records = (_decoded(row.record, version=row.version) for row in rows)
            self._records = {r.about.version: self._as_usable(r) for r in records if r is not None}
            self._serve(state["active_version"])
            self._revision = state["revision"]
            self._exports.forget(before - set(self._records))
            return True

    def add(
        self, content: bytes, *, record: ModelRecord, classifier: bytes | None = None
    ) -> ModelRecord:
        """Add a version, and put it in service unless its record says why not.

        Args:
            content: The model, as ``predictor.artefact`` writes it.
            record: Its version is given here; what it says of it is not read.
            classifier: The copy for scikit-learn, if there is to be one.

        Returns:
            The record with its version.

        Raises:
            UnusableModelError: It cannot be read.
        """
        with self._lock:
            read_model(content, record=record)
            with self._database.writing() as connection:
                state = _state(connection)
                version = state["last_version"] + 1
                about = msgspec.structs.replace(record.about, version=version)
                record = msgspec.structs.replace(record, about=about)
                _insert(connection, content=content, record=record)
                active = version if may_serve(record) else state["active_version"]
                _set_state(connection, state, active_version=active, last_version=version)
                self._forget_oldest(connection, active=active)
            self.refresh()
            if classifier is not None:
                self._exports.write(classifier, record=record)
        if active == version:
            log.info("model in service", extra=facts(version=version, rows=about.n_rows))
        return record

    def activate(self, version: int) -> None:
        """Put a version in service, at once for all later predictions.

        One that was found no better than another may be put in service all the same.

        Raises:
            UnknownVersionError: There is no such version.
            UnusableModelError: It is not trusted, or cannot be read.
        """
        with self._lock:
            self.refresh()
            record = self._records.get(version)
            if record is None:
                raise UnknownVersionError(f"there is no version {version}")
            if not record.about.is_trusted:
                raise UnusableModelError(
                    f"version {version} is not trusted: {record.about.why_not_trusted}"
                )
            self._load(record)
            with self._database.writing() as connection:
                state = _state(connection)
                if not _amend(connection, version=version, why_not_in_service=""):
                    raise UnknownVersionError(f"version {version} was dropped meanwhile")
                _set_state(connection, state, active_version=version)
            self.refresh()
        log.info("model in service", extra=facts(version=version, rows=record.about.n_rows))

    def withdraw(self, version: int, *, why: str) -> None:
        """Trust a version no longer; if it is in service, none is from now on.

        What came before it learnt from an even older world, so it does not step in.
        """
        with self._lock:
            with self._database.writing() as connection:
                state = _state(connection)
                if not _amend(connection, version=version, is_trusted=False, why_not_trusted=why):
                    return  # dropped meanwhile
                active = state["active_version"]
                _set_state(connection, state, active_version=0 if active == version else active)
            self.refresh()
        log.warning("model withdrawn", extra=facts(version=version, reason=why))

    def roll_back(self) -> int:
        """Put the newest trusted version before the active one in service.

        What was found no better than the one then in service is passed over.

        Returns:
            Its number.

        Raises:
            UnusableModelError: There is none.
        """
        with self._lock:
            self.refresh()
            current = self.record
            below = float("inf") if current is None else current.about.version
            for record in self.versions():
                version = record.about.version
                if version < below and may_serve(record):
                    try:
                        self.activate(version)
                    except (UnusableModelError, UnknownVersionError):
                        continue  # logged; an older one may do
                    return version
        raise UnusableModelError("there is no trusted version before the one in service")

    def _adopt(self) -> None:
        with self._database.reading() as connection:
            if _state(connection)["revision"]:
                return
        adopted, active = self._exports.adopt()
        if not adopted:
            return
        with self._database.writing() as connection:
            state = _state(connection)
            if state["revision"]:
                return  # another replica was faster
            for model in adopted:
                _insert(connection, content=model.content, record=model.record)
            last = max(model.record.about.version for model in adopted)
            _set_state(connection, state, active_version=active, last_version=last)
        self._exports.forget_active()
        log.info("models taken over", extra=facts(versions=len(adopted), active=active))

    def _serve(self, active: int) -> None:
        """Serve a version, or the newest trusted one before it that can be read."""
        for record in self.versions():
            version = record.about.version
            if version == active or (version < active and may_serve(record)):
                try:
                    self._active = (self._load(record), record)
                except UnusableModelError:
                    continue  # logged
                return
        self._active = None

    def _load(self, record: ModelRecord) -> Model:
        """Read a model.

        Raises:
            UnusableModelError: It cannot be read, and will not be tried again.
        """
        version = record.about.version
        if self._active is not None:
            model, current = self._active
            if (current.about.version, current.sha256) == (version, record.sha256):
                return model
        with self._database.reading() as connection:
            content = connection.execute(
                sa.select(model_versions.c.content).where(model_versions.c.version == version)
            ).scalar()
        if content is None:
            raise UnusableModelError(f"version {version} was dropped meanwhile")
        try:
            return read_model(content, record=record)
        except UnusableModelError as error:
            self._unusable[record.sha256] = str(error)
            self._records[version] = self._as_usable(record)
            log.error(  # noqa: TRY400 - what matters is in the message; the traceback is ours
                "model cannot be read", extra=facts(version=version, reason=str(error))
            )
            raise

    def _as_usable(self, record: ModelRecord) -> ModelRecord:
        why = self._unusable.get(record.sha256)
        if why is None:
            return record
        about = msgspec.structs.replace(record.about, is_trusted=False, why_not_trusted=why)
        return msgspec.structs.replace(record, about=about)

    def _forget_oldest(self, connection: sa.Connection, *, active: int) -> None:
        rows = connection.execute(sa.select(model_versions.c.version, model_versions.c.record))
        records = (_decoded(row.record, version=row.version) for row in rows)
        others = [r.about for r in records if r is not None and r.about.version != active]
        # A row of untrusted candidates must not push out what one could roll back to.
        others.sort(key=lambda about: (about.is_trusted, about.version), reverse=True)
        gone = [about.version for about in others[self._keep_versions :]]
        connection.execute(model_versions.delete().where(model_versions.c.version.in_(gone)))


def read_model(content: bytes, *, record: ModelRecord) -> Model:
    """Read a model, if it is what its record says.

    Raises:
        UnusableModelError: It is not what was written, or no model.
    """
    if hashlib.sha256(content).hexdigest() != record.sha256:
        raise UnusableModelError("its content is not what was written (SHA-256 differs)")
    try:
        forest, calibration = decode(content)
    except BadArtefactError as error:
        raise UnusableModelError(str(error)) from error
    return Model(version=record.about.version, forest=forest, calibration=calibration)


def _decoded(stored: bytes, *, version: int) -> ModelRecord | None:
    """Read a record; ``None`` if it is none, which is logged: that version is passed over."""
    try:
        record = msgspec.json.decode(stored, type=ModelRecord)
        if record.about.version == version:
            return record
        reason = f"it is about version {record.about.version}"
    except msgspec.DecodeError as error:
        reason = str(error)
    log.error("record of a model cannot be read", extra=facts(version=version, reason=reason))
    return None


def _state(connection: sa.Connection) -> dict[str, int]:
    row = connection.execute(sa.select(model_state)).mappings().one_or_none()
    return dict(_NOTHING) if row is None else {name: row[name] for name in _NOTHING}


def _set_state(connection: sa.Connection, state: dict[str, int], **changes: int) -> None:
    after = {**state, **changes, "revision": state["revision"] + 1}
    if state["revision"]:
        connection.execute(model_state.update().values(after))
    else:
        connection.execute(model_state.insert().values(id=1, **after))


def _insert(connection: sa.Connection, *, content: bytes, record: ModelRecord) -> None:
    connection.execute(
        model_versions.insert().values(
            version=record.about.version, record=msgspec.json.encode(record), content=content
        )
    )


def _amend(connection: sa.Connection, *, version: int, **changes: bool | str) -> bool:
    """Change what is said of a version; tell whether there is such a version."""
    at = model_versions.c.version == version
    stored = connection.execute(sa.select(model_versions.c.record).where(at)).scalar()
    record = None if stored is None else _decoded(stored, version=version)
    if record is None:
        return False
    about = msgspec.structs.replace(record.about, **changes)
    record = msgspec.structs.replace(record, about=about)
    connection.execute(model_versions.update().where(at).values(record=msgspec.json.encode(record)))
    return True
