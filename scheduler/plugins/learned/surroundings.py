"""What a cycle knows besides the pod and the nodes; written to the state before PreScore."""

from typing import NamedTuple

from scheduler.model import QueueState


class Surroundings(NamedTuple):
    """The moment, and the pods that wait."""

    now_s: float
    """Unix seconds."""
    queue: QueueState
    """All that wait, the pod itself included."""
