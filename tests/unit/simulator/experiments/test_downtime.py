"""For how long services are down."""

import pytest

from scheduler.simulator.experiments.downtime import DowntimeMeter
from scheduler.simulator.hardware import NodeNature
from scheduler.simulator.natures import Nature
from scheduler.simulator.resources import PODS
from tests.unit.simulator.experiments.worlds import (
    make_group,
    make_job,
    make_run,
    make_service,
    make_site,
)

SETTLED_S = 300.0
HEALTHY = Nature(crash_per_hour=0.0, startup_s=5.0)


def nodes_of(site, service):
    """Name the nodes of a service's pods."""
    pods = site.store.list(PODS)
    return [p["spec"]["nodeName"] for p in pods if p["metadata"]["labels"]["app"] == service]


class Story:
    """Two services of two pods each on four nodes, and a meter that looks on."""

    def __init__(self):
        service = make_service(kinds=2, replicas=2.0, nature=HEALTHY)
        self.site = make_site(make_group(count=4), services=(service,))
        self.run = make_run(self.site)
        self.meter = DowntimeMeter(self.site)
        self.meter.look()
        self.pass_time(SETTLED_S)

    def pass_time(self, for_s):
        self.run.advance(self.site.now_s + for_s)
        self.meter.look()

    def lose(self, nodes, *, outage_s=60.0):
        for node in nodes:
            self.site.cluster.world.fail_node(node, outage_s=outage_s)
        self.meter.look()


def test_a_service_that_is_being_deployed_is_not_down():
    assert Story().meter.down_h == 0.0


def test_a_service_is_up_as_long_as_one_of_its_pods_is():
    story = Story()
    one, _ = nodes_of(story.site, "web-1")

    story.lose({one})
    story.pass_time(30.0)

    assert story.meter.down_h == 0.0


def test_a_service_is_down_from_the_loss_of_its_last_node_on_though_nobody_was_told():
    story = Story()
    lost = set(nodes_of(story.site, "web-1"))
    n_down = sum(lost.issuperset(nodes_of(story.site, name)) for name in ("web-1", "web-2"))

    story.lose(lost)
    story.pass_time(30.0)

    assert story.meter.down_h == pytest.approx(n_down * 30.0 / 3600.0)


def test_it_is_up_again_when_its_pods_are():
    story = Story()
    story.lose({"n1", "n2", "n3", "n4"})
    story.pass_time(30.0)
    story.pass_time(SETTLED_S)
    down_h = story.meter.down_h

    story.pass_time(600.0)

    assert story.meter.down_h == down_h > 0.0


def test_jobs_are_no_services():
    site = make_site(jobs=(make_job(),))
    result = make_run(site).measure(site.end_s)

    assert result.services_down_h is None


def test_a_run_tells_it():
    dying = NodeNature(fail_per_hour=6.0, outage_s=120.0)
    lonely = make_service(kinds=1, replicas=1.0, nature=HEALTHY)
    site = make_site(make_group(count=1, nature=dying), services=(lonely,))

    result = make_run(site).measure(site.end_s)

    assert 0.0 < result.services_down_h < 1.0
