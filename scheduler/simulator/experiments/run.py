"""Running policies through a scenario, each from the same past, in virtual time."""

import copy
import math
import time
from collections.abc import Iterable, Sequence
from typing import Final

from scheduler.simulator.experiments.forecaster import Forecaster
from scheduler.simulator.experiments.observer import Observer
from scheduler.simulator.experiments.policies import BASELINE, Policy, policy_of
from scheduler.simulator.experiments.results import RunResult
from scheduler.simulator.experiments.scenario import Scenario
from scheduler.simulator.experiments.shell import VirtualShell
from scheduler.simulator.experiments.site import Site
from scheduler.simulator.experiments.tally import Tally
from scheduler.simulator.resources import PODS
from scheduler.simulator.usage_traces import UsageLibrary

_MAX_TURNS: Final = 100
"""At one instant; a scheduler and controllers that quarrel must not stop the clock."""


class Run:
    """One scheduler on one site.

    Args:
        site: The cluster; it goes on from where it is.
        observer: The collector beside it.
        policy: How the scheduler is set up.
    """

    def __init__(self, site: Site, *, observer: Observer, policy: Policy) -> None:
        self._site = site
        self._observer = observer
        self._forecaster: Forecaster | None = None
        if policy.predictor != "none":
            learns = policy.predictor == "learning"
            interval_s = float(site.scenario.observation.retrain_every)
            self._forecaster = Forecaster(
                observer,
                now_s=site.now_s,
                retrain_every_s=interval_s if learns else None,
            )
        self._tally: Tally | None = None
        self._policy = policy
        self._shell = VirtualShell(
            policy.profiles(), client=site.client, forecasts=self._forecaster, seed=site.seed
        )

    def advance(self, until_s: float) -> None:
        """Let time pass until *until_s*, Unix seconds."""
        while self._site.now_s < until_s:
            self._site.step(min(until_s, self._next_s()))
            self._settle()
            now_s = self._site.now_s
            if now_s >= self._observer.next_look_s:
                self._observer.look(self._site.client)
                self._shell.measure()
                if self._forecaster is not None:
                    self._forecaster.tend(now_s=now_s)
            if self._tally is not None and now_s >= self._tally.next_look_s:
                self._tally.look(now_s)

    def measure(self, until_s: float) -> RunResult:
        """Let time pass until *until_s*, Unix seconds, and tell what came of it."""
        site = self._site
        began_s = time.process_time()
        self._tally = Tally(
            site.cluster,
            window_s=float(site.scenario.observation.window),
            now_s=site.now_s,
            pods=site.store.list(PODS),
        )
        self.advance(until_s)
        forecaster = self._forecaster
        return self._tally.result(
            policy=self._policy.name,
            seed=site.seed,
            now_s=site.now_s,
            model=None if forecaster is None else forecaster.quality(),
            trainings={} if forecaster is None else dict(forecaster.trainings),
            cpu_s=time.process_time() - began_s,
        )

    def _next_s(self) -> float:
        """Tell when something may happen: at the kubelets' next tick, or before."""
        site = self._site
        tick_s = float(site.scenario.physics.tick_s)
        next_tick_s = (math.floor(site.now_s / tick_s) + 1) * tick_s
        return max(site.now_s, min(next_tick_s, site.next_at_s, self._observer.next_look_s))

    def _settle(self) -> None:
        """Let all who watch see what was written, and act on it, until nothing more is."""
        site = self._site
        for _ in range(_MAX_TURNS):
            changes = site.feed.take()
            for change in changes:
                self._observer.see(change, now_s=site.now_s)
                if self._tally is not None:
                    self._tally.see(change, now_s=site.now_s)
            if self._shell.turn(changes):
                site.cluster.step(site.now_s)  # kubelets take in at once what was bound
            elif not changes:
                return


def run_seed(
    scenario: Scenario,
    *,
    seed: int,
    policies: Sequence[str],
    library: UsageLibrary | None = None,
) -> Iterable[RunResult]:
    """Run all policies on one seed, each from the end of the same warm-up.

    Args:
        scenario: What to build.
        seed: Decides all chance.
        policies: By name; see ``policies``.
        library: Recorded usage for the workloads to live through, if there is any.

    Raises:
        ConfigError: There is no such policy.
    """
    chosen = [policy_of(name) for name in policies]
    site = Site(scenario, seed=seed, library=library)
    observer = Observer(scenario.observation, start_s=site.start_s)
    warm_up = Run(site, observer=observer, policy=policy_of(BASELINE))
    warm_up.advance(site.measured_from_s)
    for policy in chosen:
        run = Run(site.copy(), observer=copy.deepcopy(observer), policy=policy)
        yield run.measure(site.end_s)
