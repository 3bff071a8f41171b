"""Upstream's block ``leaderElection`` of ``KubeSchedulerConfiguration``; strict."""

from typing import Annotated, Final, Literal

import msgspec

from kube.edge.settings import Interval, Settings

JITTER_FACTOR: Final = 1.2
"""Who does not hold the lease waits up to so many retry periods more, so that rivals spread out."""

Name = Annotated[str, msgspec.Meta(min_length=1)]


class LeaderElectionConfiguration(Settings, frozen=True, rename="camel"):
    """Which of several schedulers decides; upstream's rules, and its defaults for the times."""

    leader_elect: bool = False
    """Off unless asked for, unlike upstream's: a scheduler that runs alone needs no lease, nor the
    right to write one. Whoever runs two must turn it on."""
    lease_duration: Interval = Interval(15)
    """How long others wait, from when they last saw the lease change, before they take it."""
    renew_deadline: Interval = Interval(10)
    """How long the holder goes on trying to renew before it gives up."""
    retry_period: Interval = Interval(2)
    """Between two attempts, to take the lease or to renew it."""
    resource_lock: Literal["leases"] = "leases"
    resource_name: Name = "ai-scheduler"
    """Of the lease. Not upstream's kube-scheduler, which runs beside us and holds that one."""
    resource_namespace: Name = "kube-system"

    def __post_init__(self) -> None:
        """Check the times against each other.

        Raises:
            ValueError: A holder that cannot renew would still decide when others take over.
        """
        if self.lease_duration < 1:
            raise ValueError("leaseDuration must be at least 1s: leases count whole seconds")
        if self.lease_duration <= self.renew_deadline:
            raise ValueError("leaseDuration must be longer than renewDeadline")
        if self.renew_deadline <= JITTER_FACTOR * self.retry_period:
            raise ValueError(f"renewDeadline must be longer than {JITTER_FACTOR} retryPeriods")
