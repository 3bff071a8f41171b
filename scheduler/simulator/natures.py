"""Kinds of workloads: how true usage relates to requests, drawn anew for each workload.

The defaults are fitted to recorded usage; ``PHYSICS.md`` says to which, and by which command.
"""

from typing import Final

from kube.edge.settings import Settings
from scheduler.simulator.draws import Distribution, Draw, LogNormal, check_fields, draw_fields
from scheduler.simulator.usage import MI, WorkloadTraits

_DAY_S: Final = 86_400.0

# What ``scripts/fit_usage.py`` printed; nobody's taste.
FITTED_CPU_RATIO: Final = Distribution(lognormal=LogNormal(median=0.08, sigma=1.1, max=0.59))
FITTED_MEMORY_RATIO: Final = Distribution(lognormal=LogNormal(median=0.086, sigma=0.93, max=0.73))
FITTED_DIURNAL_AMPLITUDE: Final = Distribution(
    lognormal=LogNormal(median=0.028, sigma=1.8, max=0.62)
)
FITTED_DIURNAL_PHASE_S: Final = Distribution(uniform=(0.0, 57_600.0))
FITTED_BURST_RATIO: Final = Distribution(lognormal=LogNormal(median=0.001, sigma=3.1, max=0.32))
FITTED_BURST_FACTOR: Final = Distribution(
    lognormal=LogNormal(median=1.7, sigma=0.26, min=1.5, max=6.2)
)

_BOUNDS: Final = {
    "diurnal_amplitude": (0.0, 0.95),
    "diurnal_phase_s": (-_DAY_S, _DAY_S),
    "burst_ratio": (0.0, 1.0),
    "burst_factor": (1.0, 100.0),
    "crash_per_hour": (0.0, 3600.0),
    "cache_hunger": (0.0, 1.0),
}


class Nature(Settings, frozen=True):
    """How one kind of workload behaves. Ratios are of the container's requests."""

    cpu_ratio: Draw = FITTED_CPU_RATIO
    """Mean usage."""
    memory_ratio: Draw = FITTED_MEMORY_RATIO
    """The working set after the start."""
    memory_growth_ratio_per_h: Draw = 0.0
    """Growth from then on."""
    memory_growth_limit_ratio: Draw = 1e6
    """Where growth ends; as it stands, what grows leaks until it is killed."""
    diurnal_amplitude: Draw = FITTED_DIURNAL_AMPLITUDE
    """How far cpu swings around its mean within a day."""
    diurnal_phase_s: Draw = FITTED_DIURNAL_PHASE_S
    """When in the day (UTC) cpu swings upward through its mean; it peaks six hours later."""
    burst_ratio: Draw = FITTED_BURST_RATIO
    """Share of 5-minute windows in which cpu bursts."""
    burst_factor: Draw = FITTED_BURST_FACTOR
    """Cpu in a burst, as a multiple."""
    startup_s: Draw = Distribution(lognormal=LogNormal(median=5.0, sigma=0.6, min=1.0, max=60.0))
    """From start to ready, on an idle node of ordinary speed."""
    stop_s: Draw = Distribution(uniform=(0.3, 3.0))
    """From being told to stop to the end."""
    crash_per_hour: Draw = 0.01
    """Crashes of the program's own making."""
    cache_hunger: Draw = Distribution(uniform=(0.0, 0.5))
    """How much it disturbs, and is disturbed by, its neighbours: 0 to 1."""
    unrequested_cpu_milli: Draw = 100.0
    """What stands for the request of a container that has none; so does the next."""
    unrequested_memory_bytes: Draw = 64.0 * MI

    def __post_init__(self) -> None:
        check_fields(self, bounds=_BOUNDS)

    def traits(self, workload: str, *, seed: int) -> WorkloadTraits:
        """Draw a workload's traits; each depends on its own draw and on workload and seed alone."""
        return WorkloadTraits(
            **draw_fields(self, "workload nature", seed, workload, bounds=_BOUNDS)
        )
