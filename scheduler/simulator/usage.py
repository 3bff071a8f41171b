"""What pods truly use, which is not what they request.

A workload's profile is drawn once from its name, so replicas behave alike. The shape of the
distribution follows the published traces: most workloads use a small part of the cpu they request,
a heavy tail uses more; most stay within their memory request, some grow beyond it and some leak.

The annotation ``simulator.ai-scheduler/usage`` on a pod (or a pod template) fixes values, for
scenarios that must play out the same way: a JSON object with any of the fields below. What it does
not name stays as drawn. It describes each app container of the pod.

======================  =======================================================================
cpu                     mean usage, a quantity: "300m"
memory                  working set after the start, a quantity: "400Mi"
memory_growth_per_hour  growth from then on, a quantity: "100Mi"
memory_growth_limit     growth ends here, a quantity; without it, what grows leaks for ever
diurnal_amplitude       0 to 0.95: how far cpu swings around its mean within a day
burst_ratio             0 to 1: share of 5-minute windows in which cpu bursts
burst_factor            1 to 100: cpu in a burst, as a multiple
startup_s               seconds from start to ready, on an idle node of ordinary speed
stop_s                  seconds from being told to stop to the end
crash_per_hour          0 to 3600: crashes of the program's own making
run_s                   seconds of work on an idle node, after which the container exits
exit_code               0 to 255: with which it exits then
cache_hunger            0 to 1: how much it disturbs, and is disturbed by, its neighbours
======================  =======================================================================
"""

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Annotated, Any, Final, Protocol, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from kube.quantity import QuantityError, parse_milli, parse_whole
from scheduler.simulator.chance import generator_of

USAGE_ANNOTATION: Final = "simulator.ai-scheduler/usage"

MI: Final = 2**20
_NO_END: Final = float("inf")


class UsageAnnotationError(ValueError):
    """The usage annotation cannot be read; the message says why."""


SERIES_SLOT_S: Final = 300.0
"""How far the points of recorded usage lie apart."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UsageSeries:
    """Recorded usage, by 5-minute slots; after the last slot it begins anew.

    Both arrays are of shape ``(n_slots,)``, with ``n_slots`` at least 1, and are never changed, so
    many series may share them.
    """

    cpu_ratio: NDArray[np.float32]
    """Of the cpu request."""
    memory_ratio: NDArray[np.float32]
    """Of the memory request."""
    offset_slots: int = 0
    """The slot in which the Unix epoch lies."""

    def at(self, now_s: float) -> tuple[float, float]:
        """Tell cpu and memory, as ratios of the requests, at a time."""
        slot = (int(now_s // SERIES_SLOT_S) + self.offset_slots) % len(self.cpu_ratio)
        return float(self.cpu_ratio[slot]), float(self.memory_ratio[slot])

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self  # nothing in it ever changes


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageProfile:
    """What one container truly uses, and how it behaves."""

    cpu_milli: float
    """The mean; with a series, what its ratios are of (the request). So is ``memory_bytes``."""
    memory_bytes: float
    memory_growth_bytes_per_h: float = 0.0
    memory_growth_limit_bytes: float = _NO_END
    diurnal_amplitude: float = 0.0
    diurnal_phase_s: float = 0.0
    burst_ratio: float = 0.0
    burst_factor: float = 1.0
    startup_s: float = 5.0
    stop_s: float = 1.0
    crash_per_hour: float = 0.0
    run_s: float = _NO_END
    exit_code: int = 0
    cache_hunger: float = 0.0
    series: UsageSeries | None = None
    """Recorded usage, by which cpu and memory are multiplied."""


_Ratio = Annotated[float, msgspec.Meta(ge=0, le=1)]
_Duration = Annotated[float, msgspec.Meta(ge=0, le=31_536_000)]


class _Annotation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    cpu: str | None = None
    memory: str | None = None
    memory_growth_per_hour: str | None = None
    memory_growth_limit: str | None = None
    diurnal_amplitude: Annotated[float, msgspec.Meta(ge=0, le=0.95)] | None = None
    burst_ratio: _Ratio | None = None
    burst_factor: Annotated[float, msgspec.Meta(ge=1, le=100)] | None = None
    startup_s: _Duration | None = None
    stop_s: _Duration | None = None
    crash_per_hour: Annotated[float, msgspec.Meta(ge=0, le=3600)] | None = None
    run_s: _Duration | None = None
    exit_code: Annotated[int, msgspec.Meta(ge=0, le=255)] | None = None
    cache_hunger: _Ratio | None = None


_QUANTITY_FIELDS: Final = {
    "cpu": "cpu_milli",
    "memory": "memory_bytes",
    "memory_growth_per_hour": "memory_growth_bytes_per_h",
    "memory_growth_limit": "memory_growth_limit_bytes",
}


def apply_annotation(profile: UsageProfile, text: str) -> UsageProfile:
    """Replace what the annotation *text* fixes.

    Raises:
        UsageAnnotationError: The text is no JSON object, or a field is unknown or out of range.
    """
    try:
        fixed = msgspec.json.decode(text, type=_Annotation)
    except msgspec.DecodeError as error:
        raise UsageAnnotationError(f"{USAGE_ANNOTATION}: {error}") from error
    given = {n: v for n, v in msgspec.structs.asdict(fixed).items() if v is not None}
    if profile.series is not None and not given.keys().isdisjoint(_QUANTITY_FIELDS):
        profile = _on_average(profile, profile.series)  # what is fixed follows no recording
    changes: dict[str, Any] = {}
    for name, value in given.items():
        if name in _QUANTITY_FIELDS:
            changes[_QUANTITY_FIELDS[name]] = _amount(name, value)
        else:
            changes[name] = value
    if "memory" in given and "memory_growth_per_hour" not in given:
        changes["memory_growth_bytes_per_h"] = 0.0  # "uses 400Mi" means that it does not leak
    if "memory_growth_per_hour" in given and "memory_growth_limit" not in given:
        changes["memory_growth_limit_bytes"] = _NO_END
    return replace(profile, **changes)


def _on_average(profile: UsageProfile, series: UsageSeries) -> UsageProfile:
    return replace(
        profile,
        cpu_milli=profile.cpu_milli * float(series.cpu_ratio.mean()),
        memory_bytes=profile.memory_bytes * float(series.memory_ratio.mean()),
        series=None,
    )


def _amount(name: str, text: str) -> float:
    try:
        amount = parse_milli(text) if name == "cpu" else parse_whole(text)
    except QuantityError as error:
        raise UsageAnnotationError(f"{USAGE_ANNOTATION}: {name}: {error}") from error
    if amount < 0:
        raise UsageAnnotationError(f"{USAGE_ANNOTATION}: {name}: must not be negative")
    return float(amount)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadTraits:
    """How a workload's usage relates to what it requests. Ratios are of the request."""

    cpu_ratio: float
    memory_ratio: float
    memory_growth_ratio_per_h: float
    memory_growth_limit_ratio: float
    diurnal_amplitude: float
    diurnal_phase_s: float
    burst_ratio: float
    burst_factor: float
    startup_s: float
    stop_s: float
    crash_per_hour: float
    cache_hunger: float
    unrequested_cpu_milli: float = 100.0
    """What stands for the request of a container that has none; so does the next."""
    unrequested_memory_bytes: float = 64.0 * MI

    def profile(
        self,
        *,
        cpu_request_milli: int | None,
        memory_request_bytes: int | None,
        series: UsageSeries | None = None,
    ) -> UsageProfile:
        """Say what a container with these requests uses (without a request: what is usual).

        Args:
            cpu_request_milli: ``None`` if it requests none.
            memory_request_bytes: ``None`` if it requests none.
            series: Recorded usage, instead of means, swing and bursts.
        """
        cpu_milli = cpu_request_milli or self.unrequested_cpu_milli
        memory_bytes = memory_request_bytes or self.unrequested_memory_bytes
        is_drawn = series is None
        return UsageProfile(
            cpu_milli=(self.cpu_ratio if is_drawn else 1.0) * cpu_milli,
            memory_bytes=(self.memory_ratio if is_drawn else 1.0) * memory_bytes,
            memory_growth_bytes_per_h=self.memory_growth_ratio_per_h * memory_bytes,
            memory_growth_limit_bytes=self.memory_growth_limit_ratio * memory_bytes,
            diurnal_amplitude=self.diurnal_amplitude if is_drawn else 0.0,
            diurnal_phase_s=self.diurnal_phase_s,
            burst_ratio=self.burst_ratio if is_drawn else 0.0,
            burst_factor=self.burst_factor,
            startup_s=self.startup_s,
            stop_s=self.stop_s,
            crash_per_hour=self.crash_per_hour,
            cache_hunger=self.cache_hunger,
            series=series,
        )


def draw_traits(workload: str, *, seed: int) -> WorkloadTraits:
    """Draw the nature of a workload, the same for the same name and seed."""
    chance = generator_of("workload", seed, workload)
    growth_per_h, growth_limit = _draw_growth(chance)
    is_fragile = chance.random() < 0.1
    return WorkloadTraits(
        cpu_ratio=_draw_cpu_ratio(chance),
        memory_ratio=float(chance.uniform(0.4, 0.9)),
        memory_growth_ratio_per_h=growth_per_h,
        memory_growth_limit_ratio=growth_limit,
        diurnal_amplitude=float(chance.uniform(0.0, 0.6)),
        # Most of a cluster's users sleep at the same time: peaks lie around 14:00 UTC.
        diurnal_phase_s=float(chance.normal(8.0, 2.5)) * 3600.0,
        burst_ratio=float(chance.uniform(0.0, 0.15)),
        burst_factor=float(chance.uniform(1.2, 3.0)),
        startup_s=float(np.clip(chance.lognormal(1.6, 0.6), 1.0, 60.0)),
        stop_s=float(chance.uniform(0.3, 3.0)),
        crash_per_hour=float(chance.uniform(0.5, 2.0) if is_fragile else chance.uniform(0, 0.02)),
        cache_hunger=float(chance.beta(1.0, 3.0)),
    )


def _draw_cpu_ratio(chance: np.random.Generator) -> float:
    kind = chance.random()
    if kind < 0.85:
        return float(0.1 + 0.6 * chance.beta(1.6, 2.6))
    if kind < 0.95:
        return float(chance.uniform(0.7, 1.1))
    return float(min(4.0, 1.0 + 0.5 * chance.pareto(2.5)))


def _draw_growth(chance: np.random.Generator) -> tuple[float, float]:
    """Draw growth per hour and its end, in units of the memory request."""
    kind = chance.random()
    if kind < 0.8:
        return 0.0, 0.0
    growth_per_h = float(chance.lognormal(-0.7, 0.6))
    if kind < 0.93:
        return growth_per_h, float(chance.uniform(0.3, 0.9))
    return growth_per_h, _NO_END


class UsageModel(Protocol):
    """Knows what pods truly use, which no object of the cluster says.

    Its state is part of the world: it must survive ``copy.deepcopy``.
    """

    def profile(
        self,
        *,
        pod: str,
        workload: str,
        container: str,
        cpu_request_milli: int | None,
        memory_request_bytes: int | None,
    ) -> UsageProfile:
        """Say what a container uses from now on.

        Args:
            pod: Namespace and name.
            workload: Namespace and name of what the pod is a replica of, ``default/web``.
            container: The container's name and its image, ``app/registry.example/web:1``.
            cpu_request_milli: ``None`` if it requests none.
            memory_request_bytes: ``None`` if it requests none.
        """


class DrawnUsage:
    """Draws each workload's nature from its name, as ``draw_traits`` does.

    Args:
        seed: The same seed draws the same.
    """

    def __init__(self, *, seed: int) -> None:
        self._seed = seed

    def profile(
        self,
        *,
        pod: str,
        workload: str,
        container: str,
        cpu_request_milli: int | None,
        memory_request_bytes: int | None,
    ) -> UsageProfile:
        """Say what a container uses."""
        traits = draw_traits(f"{workload}/{container}", seed=self._seed)
        return traits.profile(
            cpu_request_milli=cpu_request_milli, memory_request_bytes=memory_request_bytes
        )


def quantity_of_milli(cpu_milli: float) -> str:
    """Write cpu as metrics-server does, in nanocores."""
    return f"{int(Decimal(cpu_milli) * 1_000_000)}n"


def quantity_of_bytes(memory_bytes: float) -> str:
    """Write memory as metrics-server does, in whole kibibytes."""
    return f"{int(memory_bytes) // 1024}Ki"
