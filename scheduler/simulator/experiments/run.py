"""Running policies through a scenario, each from the same past, in virtual time."""

import copy
from collections.abc import Iterable, Sequence

from scheduler.simulator.experiments.course import Course
from scheduler.simulator.experiments.external import External, run_external
from scheduler.simulator.experiments.forecaster import Forecaster
from scheduler.simulator.experiments.observer import Observer
from scheduler.simulator.experiments.policies import BASELINE, Policy, policy_of
from scheduler.simulator.experiments.results import RunResult
from scheduler.simulator.experiments.scenario import Scenario
from scheduler.simulator.experiments.shell import VirtualShell
from scheduler.simulator.experiments.site import Site
from scheduler.simulator.usage_traces import UsageLibrary


class Run(Course):
    """Our engine on one site, in this process.

    Args:
        site: The cluster; it goes on from where it is.
        observer: The collector beside it.
        policy: How the scheduler is set up.
    """

    def __init__(self, site: Site, *, observer: Observer, policy: Policy) -> None:
        forecaster: Forecaster | None = None
        if policy.predictor != "none":
            learns = policy.predictor == "learning"
            interval_s = float(site.scenario.observation.retrain_every)
            forecaster = Forecaster(
                observer, now_s=site.now_s, retrain_every_s=interval_s if learns else None
            )
        shell = VirtualShell(
            policy.profiles(),
            client=site.client,
            forecasts=forecaster,
            metrics=observer,
            seed=site.seed,
        )
        super().__init__(
            site, observer=observer, shell=shell, name=policy.name, forecaster=forecaster
        )


def run_seed(
    scenario: Scenario,
    *,
    seed: int,
    policies: Sequence[str],
    externals: Sequence[External] = (),
    library: UsageLibrary | None = None,
) -> Iterable[RunResult]:
    """Run all policies on one seed, each from the end of the same warm-up.

    Args:
        scenario: What to build.
        seed: Decides all chance.
        policies: By name; see ``policies``.
        externals: Programs that schedule, after the policies.
        library: Recorded usage for the workloads to live through, if there is any.

    Raises:
        ConfigError: There is no such policy.
        ExternalSchedulerError: A program ended, or never began to schedule.
    """
    chosen = [policy_of(name) for name in policies]
    site = Site(scenario, seed=seed, library=library)
    observer = Observer(scenario.observation, start_s=site.start_s)
    warm_up = Run(site, observer=observer, policy=policy_of(BASELINE))
    warm_up.advance(site.measured_from_s)
    for policy in chosen:
        run = Run(site.copy(), observer=copy.deepcopy(observer), policy=policy)
        yield run.measure(site.end_s)
    for external in externals:
        yield run_external(site.copy(), observer=copy.deepcopy(observer), external=external)
