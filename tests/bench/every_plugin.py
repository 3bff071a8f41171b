"""What every plugin at once costs the engine: ``scripts/bench.sh scheduler --profile all``."""

import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from scheduler.framework.profile import Profile
from scheduler.framework.registry import Registry
from scheduler.plugins.defaults import SCHEDULER_NAME, built_in_registry
from tests.bench import everything, rules, templates
from tests.bench.engine_world import NO_FIGURE, Cost, EngineWorld
from tests.bench.plugin_times import PluginTimes
from tests.bench.processes import in_own_process
from tests.bench.rules import BrokenRuleError
from tests.bench.templates import Json

N_NODES = 5_000
N_RUNNING = 10_000
N_MEASURED = 4_000
N_PRESSING = 5
FLOOR = 500
"""Pods a second."""


def alike_pods(n_pods: int) -> list[Json]:
    """Make pods of one kind, to which every plugin has something to say."""
    return everything.alike_pods("pod", n_pods)


def mixed_pods(n_pods: int) -> list[Json]:
    """Make pods of forty kinds, gangs among them, and some for which others must go."""
    pods = everything.mixed_pods("pod", n_pods, first_gang=1)
    return pods + everything.pressing_pods("late", N_PRESSING)


def run_every_plugin(
    make_pods: Callable[[int], Iterable[Json]], *, n_nodes: int, n_running: int, n_measured: int
) -> tuple[Cost, str]:
    """Run some pods with every plugin on.

    Before anything is timed every plugin must have been asked all that it can answer.

    Returns:
        The cost, and what took it.

    Raises:
        NotScheduledError: Some of the pods were not scheduled.
        BrokenRuleError: They were, and a rule is broken.
    """
    registry, times = built_in_registry(), PluginTimes()
    nodes = everything.nodes(n_nodes)
    with tempfile.TemporaryDirectory() as folder:
        profiles = everything.make_all(Path(folder), nodes=nodes, registry=registry, times=times)
    namespaces = [templates.namespace(each) for each in everything.NAMESPACES]
    world = EngineWorld(nodes, namespaces=namespaces, profiles=profiles)
    n_gangs = 1 + n_measured // everything.PODS_A_ROUND
    for kind, found in everything.objects(nodes, n_gangs=n_gangs):
        world.see(found, kind=kind)
    everything.run_already(world, n_nodes=n_nodes, n_running=n_running)
    _warm_up(world, times=times, profile=profiles[SCHEDULER_NAME], registry=registry)
    pods = make_pods(n_measured)
    times.begin()
    cost = world.schedule(pods)
    for rule in (rules.capacity, rules.cards):
        broken = rule(world.nodes, placed=world.placed)
        if broken:
            raise BrokenRuleError(broken)
    return cost, times.shares(cost.cpu_s)


def _warm_up(
    world: EngineWorld, *, times: PluginTimes, profile: Profile, registry: Registry
) -> None:
    """Have every plugin asked; those that make room by pods that need it."""
    world.measure()
    world.schedule(everything.filling_pods())
    world.schedule(everything.mixed_pods("first", everything.PODS_A_ROUND, first_gang=0))
    world.schedule([everything.far_reaching_pod("far"), *everything.pressing_pods("early", 1)])
    hopeless = [everything.hopeless_pod("hopeless")]
    if not world.try_in_vain(hopeless):
        raise BrokenRuleError("a pod was placed where there is no room")
    world.forget(hopeless)
    idle = times.idle(profile, registry=registry)
    if idle:
        raise BrokenRuleError(f"plugins that had nothing to do: {', '.join(idle)}")


def show_every_plugin(wanted: Callable[[str], bool]) -> None:
    """Print what pods cost that are all alike, and of forty kinds."""
    for words, make_pods in (("alike", alike_pods), ("of 40 kinds", mixed_pods)):
        title = f"every plugin, {N_MEASURED:,} pods {words}, {N_NODES:,} nodes"
        if wanted(title):
            _show(title, make_pods)


def _show(title: str, make_pods: Callable[[int], list[Json]]) -> None:
    sizes = {"n_nodes": N_NODES, "n_running": N_RUNNING, "n_measured": N_MEASURED}
    try:
        cost, shares = in_own_process(partial(run_every_plugin, make_pods, **sizes))
    except NO_FIGURE as error:
        print(f"{title}: no figure (floor {FLOOR}): {error}", flush=True)
        return
    verdict = "met" if cost.pods_per_cpu_s >= FLOOR else "MISSED"
    print(
        f"{title}: {cost.pods_per_cpu_s:,.0f} pods/s of CPU, {cost.pods_per_wall_s:,.0f} of the"
        f" wall, {cost.cpu_us_per_pod:,.0f} us of CPU a pod (floor {FLOOR}: {verdict})\n{shares}",
        flush=True,
    )
