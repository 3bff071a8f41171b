"""Recorded usage: what machines truly used, read from files, to be lived through by pods.

``load_usage(path)`` reads a file, or all files of a folder that hold usage. They are known by their
columns, as parquet (which needs the extra ``files``) or as CSV, also with ``.gz``:

==================  =========================================================================
kind                columns
==================  =========================================================================
any                 ``name`` (of what was recorded), ``time_s`` (seconds; if since the Unix
                    epoch, the time of day is kept), ``cpu_ratio`` and ``memory_ratio``, or
                    one of them: used, of what was requested or provisioned
GWA-T-12 Bitbrains  ``vm``, ``slot`` (5 min since 22:00 UTC), ``cores`` provisioned,
                    ``cpu_mcores`` used, ``mem_cap_mib`` provisioned, ``mem_used_mib``
Google 2011 groups  ``vm``, ``slot`` (5 min), ``cpu_bp``, ``mem_bp`` (utilisation in 1/10,000)
Alibaba GenAI pods  ``pod``, ``slot`` (57 s), ``mem_util_pct`` (of the limit)
==================  =========================================================================

Points are averaged over 5-minute slots; gaps keep what was before them. A recording of a day or
more is cut to whole days, so that it begins anew at the same time of day.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from scheduler.simulator.chance import generator_of, key_of
from scheduler.simulator.column_files import (
    SUFFIXES,
    ColumnFileError,
    Columns,
    column_names,
    read_columns,
)
from scheduler.simulator.draws import draw
from scheduler.simulator.natures import FITTED_CPU_RATIO, FITTED_MEMORY_RATIO
from scheduler.simulator.usage import SERIES_SLOT_S, UsageSeries

Floats: TypeAlias = NDArray[np.float64]

MAX_POINTS: Final = 20_000_000
"""More points than this in one file are refused: they would take gigabytes of memory."""
MAX_SLOTS: Final = 366 * 288
"""Recordings are at most a year long."""
_DAY_SLOTS: Final = 288


class UsageTraceError(ValueError):
    """Recorded usage cannot be read; the message names the file, and the column if it is one's."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one kind of file says what."""

    entity: str
    time: str
    time_unit_s: float
    starts_at_s: float
    """The time of day at the time 0."""
    cpu: tuple[str, ...]
    memory: tuple[str, ...]
    cpu_ratio: Callable[..., Floats]
    memory_ratio: Callable[..., Floats]

    @property
    def needed(self) -> tuple[str, ...]:
        return (self.entity, self.time, *self.cpu, *self.memory)


def _of_parts(parts: float) -> Callable[[Floats], Floats]:
    def ratio(used: Floats) -> Floats:
        return used / parts

    return ratio


def _of_capacity(capacity: Floats, used: Floats) -> Floats:
    """Take what was switched off, and so has no capacity, for a gap."""
    unknown: Floats = np.full(len(used), np.nan)
    return np.divide(used, capacity, out=unknown, where=capacity > 0)


def _of_cores(cores: Floats, used_milli: Floats) -> Floats:
    return _of_capacity(1000.0 * cores, used_milli)


_RECORDED: Final = (
    _Kind(
        "vm",
        "slot",
        SERIES_SLOT_S,
        22 * 3600.0,
        ("cores", "cpu_mcores"),
        ("mem_cap_mib", "mem_used_mib"),
        _of_cores,
        _of_capacity,
    ),
    _Kind(
        "vm", "slot", SERIES_SLOT_S, 0.0, ("cpu_bp",), ("mem_bp",), _of_parts(1e4), _of_parts(1e4)
    ),
    _Kind("pod", "slot", 57.0, 0.0, (), ("mem_util_pct",), _of_parts(1.0), _of_parts(100.0)),
)
_NAMED: Final = ("name", "time_s")
_RATIOS: Final = ("cpu_ratio", "memory_ratio")


class UsageLibrary:
    """Recordings to choose from.

    Args:
        recordings: At least one.
    """

    def __init__(self, recordings: Sequence["Recording"]) -> None:
        self.recordings = tuple(recordings)
        self._ends = np.cumsum([len(r.cpu_ratio) for r in self.recordings])
        self._by_name = {r.name: r for r in self.recordings}

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self  # nothing in it ever changes, and it is large

    def series(self, key: str, *, seed: int) -> UsageSeries:
        """Choose the recording that something lives through, and the day that it begins with.

        Each recorded hour is as likely to be chosen as any other; what a recording does not tell
        (some tell of memory alone) stays what is drawn once from the fitted distributions.

        Args:
            key: Who asks: the same key and seed always get the same.
            seed: Decides all chance.
        """
        at = key_of("recorded usage", seed, key) % int(self._ends[-1])
        recording = self.recordings[int(np.searchsorted(self._ends, at, side="right"))]
        first_day = key_of("recorded day", seed, key) % max(
            1, len(recording.cpu_ratio) // _DAY_SLOTS
        )
        offset_slots = recording.midnight_slot + first_day * _DAY_SLOTS
        return _series(recording, chance=_chance(key, seed), offset_slots=offset_slots)

    def series_of(self, name: str, *, seed: int, shift_s: float = 0.0) -> UsageSeries | None:
        """Give what was recorded under a name, at its own times.

        Args:
            name: Of what was recorded, as the file has it.
            seed: Decides what the recording does not tell, as in ``series``.
            shift_s: How much later than it was recorded it is lived through, in seconds.

        Returns:
            ``None`` if nothing was recorded under that name.
        """
        recording = self._by_name.get(name)
        if recording is None:
            return None
        offset_slots = -recording.first_slot - round(shift_s / SERIES_SLOT_S)
        return _series(recording, chance=_chance(name, seed), offset_slots=offset_slots)


def _chance(key: str, seed: int) -> np.random.Generator:
    return generator_of("not recorded", seed, key)


def _series(
    recording: "Recording", *, chance: np.random.Generator, offset_slots: int
) -> UsageSeries:
    n_slots = len(recording.cpu_ratio)
    cpu, memory = draw(FITTED_CPU_RATIO, chance), draw(FITTED_MEMORY_RATIO, chance)
    return UsageSeries(
        cpu_ratio=recording.cpu_ratio if recording.has_cpu else _flat(cpu, n_slots),
        memory_ratio=recording.memory_ratio if recording.has_memory else _flat(memory, n_slots),
        offset_slots=offset_slots,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """What one machine, pod or group used, by 5-minute slots."""

    source: str
    """File and name within it."""
    cpu_ratio: NDArray[np.float32]
    """Shape ``(n_slots,)``, as ``memory_ratio``; zeros if it was not recorded."""
    memory_ratio: NDArray[np.float32]
    midnight_slot: int
    """A slot at which a day begins, in UTC."""
    has_cpu: bool
    has_memory: bool
    name: str = ""
    """Of what was recorded."""
    first_slot: int = 0
    """In which it begins, counted from the time 0."""


def load_usage(path: Path, *, whole_days: bool = True) -> UsageLibrary:
    """Read recorded usage.

    Args:
        path: A file, or a folder: all files in it (not below it) that hold usage.
        whole_days: Whether recordings of a day or more are cut to whole days.

    Raises:
        UsageTraceError: A file cannot be read, is of no known kind, or holds what cannot be.
    """
    load = _load_folder if path.is_dir() else _load_file
    try:
        return UsageLibrary(load(path, whole_days=whole_days))
    except ColumnFileError as error:
        raise UsageTraceError(str(error)) from error


def _load_folder(path: Path, *, whole_days: bool) -> list["Recording"]:
    recordings: list[Recording] = []
    for file in sorted(path.iterdir()):
        if file.name.endswith(SUFFIXES) and _kind_of(column_names(file)) is not None:
            recordings += _load_file(file, whole_days=whole_days)
    if not recordings:
        raise UsageTraceError(f"{path}: no file in this folder holds usage of a known kind")
    return recordings


def _load_file(path: Path, *, whole_days: bool) -> list[Recording]:
    kind = _kind_of(column_names(path))
    if kind is None:
        raise UsageTraceError(
            f"{path}: of no known kind: needs the columns name, time_s, and cpu_ratio or "
            "memory_ratio (other kinds: see scheduler/simulator/usage_traces.py)"
        )
    points = _Points(path, kind, whole_days=whole_days)
    for columns in read_columns(path, kind.needed):
        points.add(columns)
    return points.recordings()


def _kind_of(header: Iterable[str]) -> _Kind | None:
    names = set(header)
    ratios = [name for name in _RATIOS if name in names]
    if names.issuperset(_NAMED) and ratios:
        cpu, memory = ((ratio,) if ratio in names else () for ratio in _RATIOS)
        return _Kind("name", "time_s", 1.0, 0.0, cpu, memory, _of_parts(1.0), _of_parts(1.0))
    return next((kind for kind in _RECORDED if names.issuperset(kind.needed)), None)


class _Points:
    """Gathers the points of a file, which may come in any order, slot by slot."""

    def __init__(self, path: Path, kind: _Kind, *, whole_days: bool) -> None:
        self._path = path
        self._whole_days = whole_days
        self._kind = kind
        self._codes: dict[str, int] = {}
        self._parts: list[tuple[NDArray[Any], ...]] = []
        self._n = 0

    def add(self, columns: Columns) -> None:
        """Take in some rows.

        Raises:
            UsageTraceError: A value cannot be, or there are too many.
        """
        kind = self._kind
        self._n += len(columns[kind.time])
        if self._n > MAX_POINTS:
            raise UsageTraceError(f"{self._path}: more than {MAX_POINTS:,} rows")
        names, inverse = np.unique(columns[kind.entity].astype(np.str_), return_inverse=True)
        codes = np.array([self._codes.setdefault(n, len(self._codes)) for n in names.tolist()])
        time_s = self._numbers(columns, kind.time) * kind.time_unit_s
        if not np.isfinite(time_s).all():
            raise UsageTraceError(f"{self._path}: column {kind.time!r}: a time is missing")
        self._parts.append(
            (
                codes[inverse].astype(np.int32),
                ((time_s + kind.starts_at_s) // SERIES_SLOT_S).astype(np.int64),
                self._ratios(columns, kind.cpu, kind.cpu_ratio),
                self._ratios(columns, kind.memory, kind.memory_ratio),
            )
        )

    def recordings(self) -> list[Recording]:
        """Put together what each entity used.

        Raises:
            UsageTraceError: There is nothing, or it lasts too long.
        """
        if not self._n:
            raise UsageTraceError(f"{self._path}: it has no rows")
        entity, slot, cpu, memory = (
            np.concatenate(column) for column in zip(*self._parts, strict=True)
        )
        self._parts.clear()
        order = np.argsort(entity, kind="stable")
        ends = np.cumsum(np.bincount(entity, minlength=len(self._codes)))
        found = []
        for name, rows in zip(self._codes, np.split(order, ends[:-1]), strict=True):
            recording = self._recording(name, slot[rows], cpu[rows], memory[rows])
            if recording is not None:
                found.append(recording)
        if not found:
            raise UsageTraceError(f"{self._path}: it holds no measured value")
        return found

    def _recording(
        self, name: str, slot: NDArray[np.int64], cpu: Floats, memory: Floats
    ) -> Recording | None:
        first = int(slot.min())
        n_slots = int(slot.max()) - first + 1
        if n_slots > MAX_SLOTS:
            raise UsageTraceError(
                f"{self._path}: column {self._kind.time!r}: {name} spans more than a year"
            )
        by_slot = [_by_slot(slot - first, ratio, n_slots=n_slots) for ratio in (cpu, memory)]
        has = [bool(np.isfinite(ratio).any()) for ratio in by_slot]
        if not any(has):
            return None  # it was never on
        kept = n_slots
        if self._whole_days and n_slots >= _DAY_SLOTS:
            kept = n_slots // _DAY_SLOTS * _DAY_SLOTS
        whole = [_fill_gaps(ratio[:kept]) for ratio in by_slot]
        return Recording(
            f"{self._path.name}: {name}",
            whole[0],
            whole[1],
            midnight_slot=-first % _DAY_SLOTS,
            has_cpu=has[0],
            has_memory=has[1],
            name=name,
            first_slot=first,
        )

    def _numbers(self, columns: Columns, name: str) -> Floats:
        values = columns[name]
        if values.dtype.kind == "U":
            values = np.where(values == "", "nan", values)
        try:
            return values.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise UsageTraceError(f"{self._path}: column {name!r}: {error}") from error

    def _ratios(
        self, columns: Columns, names: tuple[str, ...], compute: Callable[..., Floats]
    ) -> NDArray[np.float32]:
        if not names:
            return np.full(len(columns[self._kind.time]), np.nan, dtype=np.float32)
        inputs = [self._numbers(columns, name) for name in names]
        for name, values in zip(names, inputs, strict=True):
            if (values < 0).any() or np.isinf(values).any():
                raise UsageTraceError(
                    f"{self._path}: column {name!r}: a value is negative or infinite"
                )
        return compute(*inputs).astype(np.float32)


def _by_slot(slot: NDArray[np.int64], values: Floats, *, n_slots: int) -> Floats:
    """Average over each slot; NaN where nothing was measured."""
    is_there = np.isfinite(values)
    counts = np.bincount(slot[is_there], minlength=n_slots)
    sums = np.bincount(slot[is_there], weights=values[is_there], minlength=n_slots)
    unknown: Floats = np.full(n_slots, np.nan)
    return np.divide(sums, counts, out=unknown, where=counts > 0)


def _fill_gaps(values: Floats) -> NDArray[np.float32]:
    """Let gaps keep what was before them, a first one what is after it, or nothing at all."""
    is_there = np.isfinite(values)
    if not is_there.any():
        return _flat(0.0, len(values))
    latest = np.maximum.accumulate(np.where(is_there, np.arange(len(values)), -1))
    latest[latest < 0] = int(np.argmax(is_there))
    filled: NDArray[np.float32] = values[latest].astype(np.float32)
    filled.flags.writeable = False
    return filled


def _flat(value: float, n_slots: int) -> NDArray[np.float32]:
    return np.broadcast_to(np.float32(value), (n_slots,))
