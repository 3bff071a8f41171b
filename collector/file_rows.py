"""Rows of files that hold history: their columns, and what they come to in the database."""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from collector.contract import Outcome, OutcomeReason, PlacementState
from collector.facts import MAX_STORED
from collector.history import HOUR_S, Subject, Tally
from collector.outcomes import Fate
from collector.records import PlacementRow
from collector.samples import MAX_AMOUNT
from collector.windows import Buckets, Rollup, Window, bucket_of

_LAST_S: Final = 10**11
"""No time lies later; what does is in milliseconds."""
_MAX_COUNT: Final = 2**31 - 1

Text = Annotated[str, Meta(min_length=1, max_length=1024, pattern=r"^[^\x00]*$")]
Time = Annotated[float, Meta(ge=0, le=_LAST_S)]
Amount = Annotated[int, Meta(ge=0, le=MAX_AMOUNT)]
Request = Annotated[int, Meta(ge=0, le=MAX_STORED)]
Mean = Annotated[float, Meta(ge=0, le=MAX_AMOUNT)]
Sum = Annotated[float, Meta(ge=0, le=1e30)]
Count = Annotated[int, Meta(ge=0, le=_MAX_COUNT)]
Whose = Literal["node", "workload"]

SUBJECTS: Final = {"node": Subject.NODE, "workload": Subject.WORKLOAD}


class Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row; times are Unix seconds, cpu millicores, memory bytes."""


class _OfSubject(Row, frozen=True, kw_only=True):
    subject: Whose
    name: Text
    """A node's name, or ``namespace/kind/name`` of a workload."""

    def __post_init__(self) -> None:
        """Refuse what each column allows by itself, but which makes no sense.

        Raises:
            ValueError: Names the column.
        """
        if self.subject == "workload" and self.name.count("/") != 2:
            raise ValueError("name: a workload is namespace/kind/name")


class SampleFileRow(_OfSubject, frozen=True, kw_only=True):
    """What a node, or one replica of a workload, used at an instant; rows are sorted by time."""

    at_s: Time
    cpu_milli: Amount
    memory_bytes: Amount


class RollupFileRow(_OfSubject, frozen=True, kw_only=True):
    """What a node, or all replicas of a workload, used within five minutes."""

    start_s: Annotated[int, Meta(ge=0, le=_LAST_S, multiple_of=300)]
    n_samples: Annotated[int, Meta(ge=1, le=_MAX_COUNT)]
    cpu_milli_mean: Mean
    cpu_milli_max: Amount
    cpu_milli_variance: Sum = 0.0
    cpu_milli_histogram: str | None = None
    """JSON: how many samples fell into each bucket, by the bucket's number (1.1 to its power is
    the bucket's upper bound; −1 holds the value 0). Without one, all samples count as the mean."""
    memory_bytes_mean: Mean
    memory_bytes_max: Amount
    memory_bytes_variance: Sum = 0.0
    memory_bytes_histogram: str | None = None

    def __post_init__(self) -> None:
        """Refuse what each column allows by itself, but which makes no sense.

        Raises:
            ValueError: Names the column.
        """
        super().__post_init__()
        for name in ("cpu_milli", "memory_bytes"):
            # Means are rounded, here and there.
            if getattr(self, f"{name}_mean") > getattr(self, f"{name}_max") * (1 + 1e-9) + 1:
                raise ValueError(f"{name}_mean: is above {name}_max")
            self._buckets(name)

    @classmethod
    def of(cls, subject: Whose, name: str, start_s: int, *, window: Window) -> "RollupFileRow":
        """Write a window as a row."""
        cpu, memory = window
        return cls(
            subject=subject,
            name=name,
            start_s=start_s,
            n_samples=cpu.count,
            cpu_milli_mean=cpu.mean,
            cpu_milli_max=cpu.max,
            cpu_milli_variance=cpu.variance,
            cpu_milli_histogram=_HISTOGRAM_TEXT.encode(cpu.buckets).decode(),
            memory_bytes_mean=memory.mean,
            memory_bytes_max=memory.max,
            memory_bytes_variance=memory.variance,
            memory_bytes_histogram=_HISTOGRAM_TEXT.encode(memory.buckets).decode(),
        )

    @property
    def window(self) -> Window:
        """The window that it describes."""
        return self._rollup("cpu_milli"), self._rollup("memory_bytes")

    def _rollup(self, name: str) -> Rollup:
        return Rollup(
            count=self.n_samples,
            mean=getattr(self, f"{name}_mean"),
            max=getattr(self, f"{name}_max"),
            m2=getattr(self, f"{name}_variance") * self.n_samples,
            buckets=self._buckets(name),
        )

    def _buckets(self, name: str) -> Buckets:
        text = getattr(self, f"{name}_histogram")
        if text is None:
            return {bucket_of(round(getattr(self, f"{name}_mean"))): self.n_samples}
        try:
            buckets = _HISTOGRAM.decode(text)
        except msgspec.DecodeError as error:
            raise ValueError(f"{name}_histogram: {error}") from error
        if sum(buckets.values()) != self.n_samples:
            raise ValueError(f"{name}_histogram: does not hold n_samples values")
        return buckets


class TallyFileRow(_OfSubject, frozen=True, kw_only=True):
    """What happened to a node's pods, or to a workload's, within one hour."""

    hour_start_s: Annotated[int, Meta(ge=0, le=_LAST_S, multiple_of=HOUR_S)]
    n_observations: Count = 0
    """Placements whose outcome became known."""
    n_unstable: Count = 0
    """Those that failed within their observation window."""
    n_failures: Count = 0
    """Those, and successes that failed later."""
    n_restarts: Count = 0
    n_oom_kills: Count = 0
    n_evictions: Count = 0
    n_samples: Count = 0
    """Samples of a workload's replicas."""
    cpu_milli_sum: Sum = 0.0
    """Over those samples."""
    memory_bytes_sum: Sum = 0.0

    @classmethod
    def of(cls, subject: Whose, name: str, hour: int, *, tally: Tally) -> "TallyFileRow":
        """Write a tally as a row."""
        counts = {field: getattr(tally, field) for field in TALLY_FIELDS}
        return cls(subject=subject, name=name, hour_start_s=hour * HOUR_S, **counts)

    @property
    def tally(self) -> Tally:
        """The tally that it describes."""
        return Tally(**{field: getattr(self, field) for field in TALLY_FIELDS})


class PlacementFileRow(Row, frozen=True, kw_only=True):
    """A pod that was given a node; without an outcome, it will never be known."""

    pod_uid: Text
    pod_namespace: Text
    pod_name: Text
    workload: Text
    node: Text
    cpu_milli: Request
    """Requested."""
    memory_bytes: Request
    """Requested."""
    placed_at_s: Time
    state: str
    """JSON: node, cluster and workload as they were, as ``/api/v1/placements`` gives them."""
    success: bool | None = None
    reason: OutcomeReason | None = None
    decided_at_s: Time | None = None
    created_at_s: Time | None = None
    """When the pod was asked for."""
    ended_at_s: Time | None = None
    """When the pod ended or was deleted, if that is known."""

    def __post_init__(self) -> None:
        """Refuse what each column allows by itself, but which makes no sense.

        Raises:
            ValueError: Names the column.
        """
        if self.workload.count("/") != 2:
            raise ValueError("workload: is namespace/kind/name")
        try:
            _STATE.decode(self.state)
        except msgspec.DecodeError as error:
            raise ValueError(f"state: {error}") from error
        if len({self.success is None, self.reason is None, self.decided_at_s is None}) > 1:
            raise ValueError("success: an outcome is success, reason and decided_at_s")

    @classmethod
    def of(cls, row: PlacementRow) -> "PlacementFileRow":
        """Write a placement as a row."""
        outcome = row.outcome
        return cls(
            pod_uid=row.pod_uid,
            pod_namespace=row.pod_namespace,
            pod_name=row.pod_name,
            workload=row.workload,
            node=row.node,
            cpu_milli=row.cpu_milli,
            memory_bytes=row.memory_bytes,
            placed_at_s=row.placed_at_s,
            state=row.state.decode(),
            success=None if outcome is None else outcome.success,
            reason=None if outcome is None else outcome.reason,
            decided_at_s=None if outcome is None else outcome.decided_at_s,
            created_at_s=row.created_at_s,
            ended_at_s=row.ended_at_s,
        )

    @property
    def placement(self) -> PlacementRow:
        """The placement that it describes."""
        fate, outcome = Fate.CENSORED, None
        if self.success is not None and self.reason and self.decided_at_s is not None:
            fate = Fate.SUCCEEDED if self.success else Fate.FAILED
            outcome = Outcome(
                success=self.success, reason=self.reason, decided_at_s=self.decided_at_s
            )
        return PlacementRow(
            pod_uid=self.pod_uid,
            pod_namespace=self.pod_namespace,
            pod_name=self.pod_name,
            workload=self.workload,
            node=self.node,
            cpu_milli=self.cpu_milli,
            memory_bytes=self.memory_bytes,
            placed_at_s=self.placed_at_s,
            state=self.state.encode(),
            fate=fate,
            outcome=outcome,
            created_at_s=self.created_at_s,
            ended_at_s=self.ended_at_s,
        )


TALLY_FIELDS: Final = tuple(
    name
    for name in TallyFileRow.__struct_fields__
    if name not in ("subject", "name", "hour_start_s")
)
FileRow = SampleFileRow | RollupFileRow | TallyFileRow | PlacementFileRow
KINDS: Final[dict[str, type[FileRow]]] = {
    "samples": SampleFileRow,
    "rollups": RollupFileRow,
    "tallies": TallyFileRow,
    "placements": PlacementFileRow,
}
"""What a file may hold, told by its columns."""

_HISTOGRAM_TEXT: Final = msgspec.json.Encoder()
_HISTOGRAM: Final = msgspec.json.Decoder(
    dict[Annotated[int, Meta(ge=-1, le=1000)], Annotated[int, Meta(ge=1)]]
)
_STATE: Final = msgspec.json.Decoder(PlacementState)
