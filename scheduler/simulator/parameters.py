"""Every constant of the simulated world, as a scenario sets it.

The defaults are those of Linux and of Kubernetes 1.36 where these have any; ``PHYSICS.md``, beside
this file, says what each is for and where it comes from. Durations are seconds of virtual time.
"""

from typing import Annotated, Final

import msgspec

from kube.edge.settings import Settings

NotNegative = Annotated[float, msgspec.Meta(ge=0)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
Ratio = Annotated[float, msgspec.Meta(ge=0, le=1)]
BelowOne = Annotated[float, msgspec.Meta(ge=0, lt=1)]
Bytes = Annotated[int, msgspec.Meta(ge=0)]
Milli = Annotated[int, msgspec.Meta(ge=0)]

MI: Final = 2**20
GI: Final = 2**30


class CpuPhysics(Settings, frozen=True):
    """How cpu is wished for, shared out, and missed."""

    day_s: Positive = 86_400.0
    """The period of the daily swing, seconds."""
    burst_window_s: Positive = 300.0
    """How long a burst lasts, and the stretch for which its luck is drawn, seconds."""
    slow_noise_ratio: Ratio = 0.15
    """How far usage strays from its course in each slow window, as a ratio of the mean."""
    slow_noise_window_s: Positive = 60.0
    """How long a slow stray lasts, seconds."""
    fast_noise_ratio: Ratio = 0.10
    """How far usage strays besides from one look to the next, as a ratio of the mean."""
    shares_per_milli: Positive = 1.024
    """Cpu shares that the kubelet gives for each millicore of the request."""
    min_shares: Positive = 2.0
    """The least cpu shares that the kernel gives, which is also what no request gets."""
    cfs_periods_per_s: Positive = 10.0
    """Periods in which a cpu limit is enforced, per second."""
    max_utilization: BelowOne = 0.95
    """Utilisation, 0 to 1, beyond which work slows down no further: queues are not endless."""
    cache_penalty_ratio: NotNegative = 0.5
    """How much slower the hungriest container runs among nothing but hungry neighbours."""
    min_work_ratio: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.01
    """The least part of its work that a throttled container gets done."""
    starved_crash_per_hour: NotNegative = 6.0
    """Crashes per hour of a container that gets no cpu at all: probes and peers give up on it."""


class MemoryPhysics(Settings, frozen=True):
    """How memory fills, and what happens when it is short."""

    warm_up_s: Positive = 60.0
    """How long memory takes to fill up after a start, seconds."""
    warm_up_from_ratio: Ratio = 0.5
    """What a container uses at its start, as a ratio of what it will use."""
    noise_ratio: Ratio = 0.02
    """How far usage strays from its course in each window, as a ratio of the base."""
    noise_window_s: Positive = 60.0
    """How long a stray lasts, seconds."""
    pressure_transition_s: NotNegative = 300.0
    """How long MemoryPressure stays after memory was last short, seconds."""


class SystemPhysics(Settings, frozen=True):
    """What runs on a node outside of pods."""

    max_ratio: BelowOne = 0.9
    """The most that it takes of a node, as a ratio of the capacity."""
    window_s: Positive = 120.0
    """How often its usage changes, seconds."""


class PodPhysics(Settings, frozen=True):
    """How fast kubelets start, restart and stop containers."""

    sandbox_s: NotNegative = 1.0
    """From a pod's arrival to its network, seconds."""
    create_s: NotNegative = 0.5
    """From an image's presence to the start of the container, seconds."""
    notice_s: NotNegative = 1.0
    """How soon the kubelet sees that a container ended, seconds."""
    first_back_off_s: NotNegative = 10.0
    """The wait before the second restart, seconds; it doubles with each further one."""
    max_back_off_s: NotNegative = 300.0
    """The longest wait before a restart, seconds."""
    back_off_reset_s: NotNegative = 600.0
    """A container that ran so long is forgiven its crashes, seconds."""
    init_run_s: NotNegative = 3.0
    """Work of an init container, seconds on an idle node of ordinary speed."""


class ImagePhysics(Settings, frozen=True):
    """What images weigh, and how kubelets ask for them again."""

    median_bytes: Positive = 120e6
    """The median compressed size, bytes; sizes are log-normal, drawn from the image's name."""
    size_sigma: NotNegative = 0.9
    """Standard deviation of the size's logarithm."""
    min_bytes: Positive = 5e6
    """The smallest size, bytes."""
    max_bytes: Positive = 4e9
    """The largest size, bytes."""
    first_back_off_s: NotNegative = 10.0
    """The wait after the first failed pull, seconds; it doubles with each further one."""
    max_back_off_s: NotNegative = 300.0
    """The longest wait after a failed pull, seconds."""


class NodePhysics(Settings, frozen=True):
    """What nodes are like unless their description says otherwise, and how they report."""

    max_pods: Annotated[int, msgspec.Meta(ge=1)] = 110
    """The most pods that a kubelet takes."""
    image_disk_bytes: Bytes = 50 * GI
    """Beyond this, images that no pod uses are removed, the longest unused first, bytes."""
    reserved_cpu_milli: Milli = 100
    """Kept from pods for the system, millicores."""
    reserved_memory_bytes: Bytes = 400 * MI
    """Kept from pods for the system, bytes."""
    eviction_hard_bytes: Bytes = 100 * MI
    """Available memory, bytes, below which the kubelet evicts; kept from pods, too."""
    boot_s: NotNegative = 30.0
    """The shortest outage, seconds."""
    heartbeat_s: Positive = 10.0
    """How often a kubelet renews its lease, seconds."""
    status_s: Positive = 300.0
    """How often a kubelet writes an unchanged status anyway, seconds."""
    monitor_s: NotNegative = 5.0
    """How often the node lifecycle controller looks at the leases, seconds."""
    grace_s: NotNegative = 50.0
    """Silence after which it takes a node for NotReady, seconds."""
    topology_s: Positive = 10.0
    """How often the agent on a node with NUMA zones looks what these have left, seconds."""


class Physics(Settings, frozen=True):
    """All constants of the world."""

    tick_s: Positive = 10.0
    """The kubelet's housekeeping interval: usage, kills, evictions, crashes; seconds."""
    metrics_resolution_s: Positive = 15.0
    """How often metrics-server scrapes the kubelets, seconds."""
    cpu: CpuPhysics = CpuPhysics()
    memory: MemoryPhysics = MemoryPhysics()
    system: SystemPhysics = SystemPhysics()
    pods: PodPhysics = PodPhysics()
    images: ImagePhysics = ImagePhysics()
    nodes: NodePhysics = NodePhysics()


USUAL: Final = Physics()
"""The constants of Linux and Kubernetes."""
