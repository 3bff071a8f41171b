"""Custom resources reach the plugins that read them, and wake the pods that those refused."""

from dataclasses import replace
from typing import ClassVar

import pytest

from kube.custom import AppGroup, CustomResource, ElasticQuota, PodGroup
from kube.objects import Namespace
from scheduler.cluster.watches import PATHS, is_optional, watched
from scheduler.engine import Engine, EngineSettings
from scheduler.events import NodeSeen, ObjectGone, ObjectSeen, PodSeen
from scheduler.framework.interface import (
    ClusterEvent,
    PluginArgs,
    PreFilterPlugin,
    PreFilterResult,
)
from scheduler.framework.status import SUCCESS, unschedulable
from tests.builders import make_meta
from tests.unit.scheduler.worlds import (
    decisions,
    feed,
    make_engine,
    make_facts,
    make_pending,
    make_profile,
    placements,
)

QUOTA = ElasticQuota(metadata=make_meta("q", namespace="default"))


class NeedsQuotas(PreFilterPlugin):
    """Refuses all pods while there are fewer quotas than ``n_needed``."""

    name = "NeedsQuotas"
    wakes_on: ClassVar[ClusterEvent] = ClusterEvent.CUSTOM
    reads: ClassVar[tuple[type[CustomResource], ...]] = (ElasticQuota,)
    n_needed = 1

    def pre_filter(self, state, *, pod, snapshot):
        n_found = len(list(snapshot.objects.all(ElasticQuota)))
        is_enough = n_found == self.n_needed
        return PreFilterResult(SUCCESS if is_enough else unschedulable(f"{n_found} quotas"))


@pytest.fixture
def engine():
    profile = make_profile()
    profile = replace(profile, pre_filter=(*profile.pre_filter, NeedsQuotas(PluginArgs())))
    made = Engine({profile.scheduler_name: profile}, settings=EngineSettings())
    made.handle(NodeSeen(make_facts()), now_s=0.0)
    return made


def test_watches_what_plugins_read_and_pod_groups_in_any_case(engine):
    assert make_engine().reads == {PodGroup}
    assert engine.reads == {PodGroup, ElasticQuota}

    paths = watched(engine.reads)

    assert set(paths) == {*PATHS, PodGroup, ElasticQuota}
    assert paths[ElasticQuota] == "/apis/scheduling.x-k8s.io/v1alpha1/elasticquotas"
    assert [kind for kind in paths if is_optional(kind)] == [ElasticQuota, PodGroup]


def test_a_kind_of_which_nothing_was_told_has_no_objects(engine):
    assert list(engine.snapshot.objects.all(AppGroup)) == []
    assert engine.snapshot.objects.find(AppGroup, "default/shop") is None
    assert engine.snapshot.objects.version(AppGroup) == 0


def test_a_refused_pod_is_woken_by_the_kinds_that_its_plugin_reads(engine):
    feed(engine, [PodSeen(make_pending())])

    group = feed(engine, [ObjectSeen(PodGroup(metadata=QUOTA.metadata))], now_s=20.0)
    namespace = feed(engine, [ObjectSeen(Namespace(metadata=make_meta("x")))], now_s=40.0)
    quota = feed(engine, [ObjectSeen(QUOTA)], now_s=60.0)

    assert (decisions(group), decisions(namespace)) == ([], [])
    assert placements(quota) == {"web-1": "n1"}


def test_what_is_removed_may_help_too(engine):
    other = ElasticQuota(metadata=make_meta("other", namespace="default"))
    feed(engine, [ObjectSeen(QUOTA), ObjectSeen(other), PodSeen(make_pending())])

    actions = feed(engine, [ObjectGone(ElasticQuota, "default/other")], now_s=20.0)

    assert placements(actions) == {"web-1": "n1"}
