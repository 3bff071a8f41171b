"""The passing of time on a site, with a scheduler that acts whenever it may."""

import math
import time
from collections.abc import Iterable
from typing import Final, Protocol

import msgspec

from scheduler.simulator.experiments.downtime import DowntimeMeter
from scheduler.simulator.experiments.forecaster import Forecaster
from scheduler.simulator.experiments.network import NetworkMeter
from scheduler.simulator.experiments.news import News, read_news
from scheduler.simulator.experiments.observer import Observer
from scheduler.simulator.experiments.results import RunResult
from scheduler.simulator.experiments.site import Site
from scheduler.simulator.experiments.tally import Tally
from scheduler.simulator.experiments.worth import Worth
from scheduler.simulator.resources import PODS

_MAX_TURNS: Final = 100
"""At one instant; a scheduler and controllers that quarrel must not stop the clock."""


class Shell(Protocol):
    """A scheduler on a site, whichever door it comes by."""

    def turn(self, news: Iterable[News]) -> int:
        """Have it take in what was written, and do all that it can do about it, while time stands.

        Returns:
            How many pods were bound or asked to go.
        """

    def measure(self) -> None:
        """Have it ask for the nodes' usage, if it goes by that; called as often as metrics are."""


class Course:
    """One scheduler on one site.

    Args:
        site: The cluster; it goes on from where it is.
        observer: The collector beside it.
        shell: The scheduler.
        name: What the results call it.
        forecaster: Its predictor, if that has to learn as time passes.
    """

    def __init__(
        self,
        site: Site,
        *,
        observer: Observer,
        shell: Shell,
        name: str,
        forecaster: Forecaster | None = None,
    ) -> None:
        self._site = site
        self._observer = observer
        self._shell = shell
        self._name = name
        self._forecaster = forecaster
        self._network = NetworkMeter(site)
        self._downtime = DowntimeMeter(site)
        self._tally: Tally | None = None
        self._worth: Worth | None = None

    def advance(self, until_s: float) -> None:
        """Let time pass until *until_s*, Unix seconds."""
        while self._site.now_s < until_s:
            self._site.step(min(until_s, self._next_s()))
            self._settle()
            if self._worth is not None:
                self._worth.look()
            now_s = self._site.now_s
            if now_s >= self._observer.next_look_s:
                self._observer.look(self._site.client)
                self._shell.measure()
                if self._forecaster is not None:
                    self._forecaster.tend(now_s=now_s)
            if self._tally is not None and now_s >= self._tally.next_look_s:
                self._tally.look(now_s)
                self._network.look()
                self._downtime.look()

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
        self._worth = Worth(site, until_s=until_s)
        self.advance(until_s)
        forecaster = self._forecaster
        terms = self._worth.terms()
        result = self._tally.result(
            policy=self._name,
            seed=site.seed,
            now_s=site.now_s,
            model=None if forecaster is None else forecaster.quality(),
            trainings={} if forecaster is None else dict(forecaster.trainings),
            cpu_s=time.process_time() - began_s,
        )
        cost = site.scenario.reward.cost_of(terms)
        return msgspec.structs.replace(
            result,
            network_cost=self._network.mean_cost,
            services_down_h=self._downtime.down_h,
            cost=cost,
            cost_terms=terms,
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
            news = read_news(site.feed.take())
            for each in news:
                self._observer.see(each, now_s=site.now_s)
                if self._tally is not None:
                    self._tally.see(each.change, now_s=site.now_s)
                if self._worth is not None:
                    self._worth.see(each)
            if self._shell.turn(news):
                site.cluster.step(site.now_s)  # kubelets take in at once what was bound
            elif not news:
                return
