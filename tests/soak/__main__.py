"""Runs the real programs on a cluster that misbehaves, and watches from outside."""

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.soak.observer import Observer
from tests.soak.programs import SPEED, ApiServer, Schedulers
from tests.soak.workload import Workload

N_NODES = 8
CALM_S = 25.0
"""How long before the end the cluster is left alone."""
PATIENCE_S = 120.0
"""How long nobody may wait who need not, once all is calm: longer than the five-minute flush."""
GRACE_S = 30.0
REPORT_S = 30.0


class Soak:
    """One run.

    Args:
        folder: For settings and logs.
        duration_s: How long it takes at least.
        seed: Decides what happens, though not when.
    """

    def __init__(self, folder, *, duration_s, seed):
        self._folder = folder
        self._rng = random.Random(seed)
        self._seed = seed
        self._started_s = time.monotonic()
        self._chaos_s = max(10.0, duration_s - CALM_S)
        self._report_at_s = REPORT_S

    def run(self):
        """Make trouble, let it pass, and tell what came of it; True if every promise was kept."""
        with (
            ApiServer(self._folder, n_nodes=N_NODES, seed=self._seed) as server,
            Observer(server.url, grace_s=GRACE_S, speed=SPEED) as observer,
            Schedulers(self._folder) as schedulers,
        ):
            workload = Workload(observer, rng=self._rng)
            server.misbehave(self._seed)
            self._make_trouble(server, observer, schedulers, workload)
            server.behave()
            workload.calm()
            self._wait_for_peace(observer, schedulers)
            self._report("end", server, observer, schedulers)
            return self._verdict(observer)

    @property
    def _now_s(self):
        return time.monotonic() - self._started_s

    def _make_trouble(self, server, observer, schedulers, workload):
        strike_at_s = 8.0
        while self._now_s < self._chaos_s and not observer.violations:
            workload.act()
            observer.look()
            if self._now_s >= strike_at_s:
                schedulers.strike(self._rng)
                strike_at_s = self._now_s + self._rng.uniform(4.0, 16.0)
            schedulers.keep_running()
            if self._now_s >= self._report_at_s:
                self._report(f"{self._now_s:.0f} s", server, observer, schedulers)
                self._report_at_s += REPORT_S
            time.sleep(self._rng.uniform(0.05, 0.6))

    def _wait_for_peace(self, observer, schedulers):
        """Wait until nobody waits who need not, for two looks in a row."""
        deadline_s = time.monotonic() + PATIENCE_S
        n_calm, unrest = 0, []
        while n_calm < 2 and not observer.violations and time.monotonic() < deadline_s:
            time.sleep(2.0)
            schedulers.keep_running()
            observer.look()
            unrest = observer.unrest()
            n_calm = 0 if unrest else n_calm + 1
        if unrest:
            observer.blame_unrest(unrest)

    def _report(self, when, server, observer, schedulers):
        programs = {"starts": schedulers.n_started, "kills": schedulers.n_killed}
        facts = {**observer.totals(), **programs, **server.n_faults()}
        words = ", ".join(f"{name} {number}" for name, number in facts.items())
        print(f"soak: {when}: {words}, violations {len(observer.violations)}", flush=True)

    def _verdict(self, observer):
        for what, histories in observer.violations:
            print(f"\nsoak: BROKEN: {what}")
            for key, lines in histories.items():
                print(f"  {key}")
                print("".join(f"    {line}\n" for line in lines), end="")
        if observer.violations:
            print(f"soak: logs are in {self._folder}; seed {self._seed}")
            return False
        if not observer.counts["bindings"]:
            print(f"soak: nothing was ever bound; logs are in {self._folder}")
            return False
        return True


def main():
    """Read the command line and run; 0 if every promise was kept."""
    parser = argparse.ArgumentParser(prog="scripts/soak.sh", description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0, help="how long (%(default)s)")
    parser.add_argument("--seed", type=int, default=random.randrange(2**31), help="(random)")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    print(f"soak: {options.minutes:g} minutes, seed {options.seed}", flush=True)
    is_kept = Soak(folder, duration_s=60 * options.minutes, seed=options.seed).run()
    if is_kept:
        shutil.rmtree(folder)
        print("soak: every promise was kept")
    return 0 if is_kept else 1


if __name__ == "__main__":
    sys.exit(main())
