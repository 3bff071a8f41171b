"""What a plugin wants to know of each node beside usage: a number that Prometheus tells."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measure:
    """A question that is put to Prometheus again and again."""

    address: str
    """Of Prometheus, with ``http://`` or ``https://``."""
    query: str
    """PromQL that gives a vector with a series for each node."""
    node_label: str
    """The label that names the node."""
