"""What kubelets and their cAdvisor expose to Prometheus, of all nodes at once."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from scheduler.simulator.kube_state.families import label
from scheduler.simulator.physics import Floats
from scheduler.simulator.resources import Object
from scheduler.simulator.world import Sample

_LINES: Final = 5_000
"""So many are written at a time."""


@dataclass(frozen=True, slots=True)
class _Family:
    name: str
    type: str
    help: str
    values: Floats


def expose(
    sample: Sample, *, pod_of: Callable[[str], Object | None], cfs_periods_per_s: float
) -> Iterator[str]:
    """Write a sample in Prometheus' text format, bit by bit, as kubelets word it.

    Like theirs, values carry the time of their measurement, which is the cluster's.

    Args:
        sample: What was measured.
        pod_of: Gives a pod by its uid, or nothing if it is gone.
        cfs_periods_per_s: How many periods of the CPU controller pass in a second.
    """
    at_ms = round(1000.0 * sample.at_s)
    nodes = [(row, f'node="{name}"') for row, name in enumerate(sample.nodes)]
    containers = [
        (row, labels)
        for row, (uid, name) in enumerate(sample.containers)
        if (labels := _labels(pod_of(uid), container=name))
    ]
    for families, labelled in (
        (_of_nodes(sample), nodes),
        (_of_containers(sample, cfs_periods_per_s=cfs_periods_per_s), containers),
    ):
        for family in families:
            yield f"# HELP {family.name} {family.help}\n# TYPE {family.name} {family.type}\n"
            values = family.values.tolist()
            for first in range(0, len(labelled), _LINES):
                yield "".join(
                    [
                        f"{family.name}{{{labels}}} {values[row]:.12g} {at_ms}\n"
                        for row, labels in labelled[first : first + _LINES]
                    ]
                )


def _labels(pod: Object | None, *, container: str) -> str:
    if pod is None:
        return ""
    meta, spec = pod["metadata"], pod["spec"]
    described = [*spec["containers"], *(spec.get("initContainers") or ())]
    image = next((each["image"] for each in described if each["name"] == container), "")
    name = f'namespace="{meta["namespace"]}",pod="{meta["name"]}",container="{container}"'
    return f"{name}{label('image', image)}{label('node', spec.get('nodeName', ''))}"


def _of_nodes(sample: Sample) -> Sequence[_Family]:
    return (
        _Family(
            "node_cpu_usage_seconds_total",
            "counter",
            "Cumulative cpu time consumed by the node in core-seconds.",
            sample.node_cpu_core_s,
        ),
        _Family(
            "node_memory_working_set_bytes",
            "gauge",
            "Current working set of the node in bytes.",
            sample.node_memory_bytes,
        ),
    )


def _of_containers(sample: Sample, *, cfs_periods_per_s: float) -> Sequence[_Family]:
    return (
        _Family(
            "container_cpu_usage_seconds_total",
            "counter",
            "Cumulative cpu time consumed in core-seconds.",
            sample.container_cpu_core_s,
        ),
        _Family(
            "container_memory_working_set_bytes",
            "gauge",
            "Current working set in bytes.",
            sample.container_memory_bytes,
        ),
        _Family(
            "container_cpu_cfs_periods_total",
            "counter",
            "Number of elapsed enforcement period intervals.",
            sample.container_cfs_periods,
        ),
        _Family(
            "container_cpu_cfs_throttled_periods_total",
            "counter",
            "Number of throttled period intervals.",
            sample.container_cfs_throttled_periods,
        ),
        _Family(
            "container_cpu_cfs_throttled_seconds_total",
            "counter",
            "Total time duration the container has been throttled.",
            sample.container_cfs_throttled_periods / cfs_periods_per_s,
        ),
        _Family(
            "container_start_time_seconds",
            "gauge",
            "Start time of the container since unix epoch in seconds.",
            sample.container_started_at_s,
        ),
    )
