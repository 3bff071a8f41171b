"""The informer against a real HTTP server that drops, forgets and restarts."""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kube.client import Client
from kube.errors import GoneError
from kube.informer import Added, Deleted, Event, Informer, Modified, Synced
from kube.objects import Node, Pod
from tests.builders import make_node, make_pod
from tests.fakes import Answer, FakeApiServer, refusal, status_document

pytestmark = pytest.mark.integration

NODES = "/api/v1/nodes"
PODS = "/api/v1/pods"
DEADLINE_S = 30.0


class Hasty(random.Random):
    """Chance that never makes anyone wait."""

    def uniform(self, a: float, b: float) -> float:
        return a


@dataclass
class Replay:
    """Applies events as a consumer would, and notes what no consumer should ever see."""

    state: dict[str, Node] = field(default_factory=dict)
    events: list[Event[Node]] = field(default_factory=list)
    oddities: list[str] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def __call__(self, event: Event[Node]) -> None:
        with self.changed:
            self.events.append(event)
            self._apply(event)
            self.changed.notify_all()

    def _apply(self, event: Event[Node]) -> None:
        match event:
            case Added(obj):
                self._expect(obj.metadata.name not in self.state, event)
                self.state[obj.metadata.name] = obj
            case Modified(old, new):
                self._expect(self.state.get(old.metadata.name) == old, event)
                self._expect(old.metadata.uid == new.metadata.uid and old != new, event)
                self.state[new.metadata.name] = new
            case Deleted(old):
                gone = self.state.pop(old.metadata.name, None)
                self._expect(gone is not None and gone.metadata.uid == old.metadata.uid, event)
            case Synced():
                pass

    def _expect(self, holds: bool, event: Event[Node]) -> None:
        if not holds:
            self.oddities.append(f"unexpected {event}")

    def wait_for(self, condition: Callable[[], bool]) -> bool:
        with self.changed:
            return self.changed.wait_for(condition, DEADLINE_S)

    def wait_for_state_of(self, server: FakeApiServer) -> None:
        """Wait until the state is the server's, to the version and uid."""

        def versions() -> dict[str, tuple[str, str]]:
            return {
                name: (node.metadata.uid, node.metadata.resource_version)
                for name, node in self.state.items()
            }

        wanted = {
            name: (document["metadata"]["uid"], document["metadata"]["resourceVersion"])
            for name, document in server.objects(NODES).items()
        }
        assert self.wait_for(lambda: versions() == wanted), (versions(), wanted, self.events[-5:])

    def kinds(self) -> list[str]:
        with self.changed:
            return [type(event).__name__ for event in self.events]


@pytest.fixture
def server() -> Iterator[FakeApiServer]:
    with FakeApiServer() as fake:
        yield fake


@contextmanager
def informing(
    server: FakeApiServer, on_event: Callable[[Event[Node]], None], **options: Any
) -> Iterator[Informer[Node]]:
    stop = threading.Event()
    with Client.for_url(server.url) as client:
        informer = Informer(
            client, NODES, Node, on_event=on_event, stop=stop, rng=Hasty(), **options
        )
        informer.start()
        try:
            yield informer
        finally:
            stop.set()
            informer.join(DEADLINE_S)
            assert not informer.is_alive


def test_tells_what_is_there_then_that_it_is_all(server):
    for name in ("a", "b", "c"):
        server.put(NODES, make_node(name))
    replay = Replay()

    with informing(server, replay) as informer:
        assert informer.wait_synced(DEADLINE_S)

        assert replay.kinds() == ["Added", "Added", "Added", "Synced"]
        assert set(informer.store) == {"a", "b", "c"}
        assert informer.snapshot() == dict(informer.store)
        assert informer.is_synced
        assert informer.last_contact_s < DEADLINE_S


def test_follows_changes_as_they_come(server):
    replay = Replay()

    with informing(server, replay):
        server.wait_for_informer(NODES)
        server.put(NODES, make_node("a"))
        server.put(NODES, make_node("a", labels={"zone": "z1"}))
        server.remove(NODES, "a")
        assert replay.wait_for(lambda: len(replay.events) == 4)

    assert replay.kinds() == ["Synced", "Added", "Modified", "Deleted"]
    assert replay.oddities == []


def test_deleted_brings_the_last_state(server):
    server.put(NODES, make_node("a"))
    replay = Replay()

    with informing(server, replay):
        server.wait_for_informer(NODES)
        server.remove(NODES, "a")
        assert replay.wait_for(lambda: len(replay.events) == 3)

    assert replay.events[-1] == Deleted(replay.events[-1].old)
    assert replay.events[-1].old.metadata.resource_version == str(server.version)


@pytest.mark.parametrize("how", ["clean", "cut"])
def test_resumes_an_ended_watch_without_listing_anew(server, how):
    server.put(NODES, make_node("a"))
    replay = Replay()

    with informing(server, replay):
        server.wait_for_informer(NODES)
        server.put(NODES, make_node("b"))
        replay.wait_for_state_of(server)
        server.end_watches(how)
        server.put(NODES, make_node("c"))
        replay.wait_for_state_of(server)

    assert server.n_lists(NODES) == 1
    assert replay.kinds() == ["Added", "Synced", "Added", "Added"]


def test_bookmarks_move_the_version_to_resume_from(server):
    server.put(NODES, make_node("a"))
    replay = Replay()

    with informing(server, replay):
        server.wait_for_informer(NODES)
        server.advance(50)
        server.bookmark(NODES)
        server.compact()
        server.end_watches()
        server.wait_for_informer(NODES, n_earlier=1)
        server.put(NODES, make_node("b"))
        replay.wait_for_state_of(server)

    assert server.n_lists(NODES) == 1
    last_watch = [r for r in server.requests if "watch" in r.query][-1]
    assert last_watch.query["allowWatchBookmarks"] == "true"
    assert int(last_watch.query["resourceVersion"]) >= 51
    assert 300 <= int(last_watch.query["timeoutSeconds"]) <= 600


def test_lists_anew_when_its_version_is_gone(server):
    for name in ("a", "b", "c"):
        server.put(NODES, make_node(name))
    replay = Replay()

    with informing(server, replay):
        server.wait_for_informer(NODES)
        server.fail_next(refusal(503, "starting"), query="watch")
        server.end_watches()
        server.remove(NODES, "a")
        server.put(NODES, make_node("b", labels={"zone": "z1"}))
        server.compact()
        replay.wait_for_state_of(server)
        assert replay.wait_for(lambda: replay.kinds().count("Synced") == 2)

    assert replay.oddities == []
    assert replay.kinds()[3:].count("Deleted") == 1
    assert replay.kinds()[3:].count("Modified") == 1
    assert replay.kinds()[3:].count("Added") == 0


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(
            {"type": "ERROR", "object": status_document(410, "too old", reason="Expired")},
            id="410",
        ),
        pytest.param({"type": "ERROR", "object": status_document(500, "etcd went away")}, id="500"),
        pytest.param({"type": "SURPRISE", "object": {}}, id="unknown type"),
        pytest.param({"type": "ADDED", "object": {"metadata": {"name": 7}}}, id="malformed"),
        pytest.param(b"<html>gateway</html>", id="no JSON"),
        pytest.param(
            {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "1"}}},
            id="version goes back",
        ),
        pytest.param(
            {"type": "MODIFIED", "object": {"metadata": {"name": "z", "resourceVersion": "12"}}},
            id="a change of what was never there",
        ),
        pytest.param(
            {"type": "DELETED", "object": {"metadata": {"name": "z", "resourceVersion": "12"}}},
            id="the end of what was never there",
        ),
    ],
)
def test_odd_events_end_in_a_new_list(server, line):
    server.put(NODES, make_node("a"))
    server.advance(10)
    replay = Replay()

    with informing(server, replay):
        server.wait_for_informer(NODES)
        server.send(NODES, line)
        assert replay.wait_for(lambda: replay.kinds().count("Synced") == 2)
        server.put(NODES, make_node("b"))
        replay.wait_for_state_of(server)

    assert replay.kinds() == ["Added", "Synced", "Synced", "Added"]


def test_an_object_made_anew_under_its_old_name_is_another(server):
    first = server.put(NODES, make_node("a"))
    replay = Replay()

    with informing(server, replay):
        server.wait_for_informer(NODES)
        server.fail_next(Answer(None), times=2)
        server.end_watches("cut")
        server.remove(NODES, "a")
        second = server.put(NODES, make_node("a"))
        server.compact()
        replay.wait_for_state_of(server)

    assert replay.kinds()[2:4] == ["Deleted", "Added"]
    assert first["metadata"]["uid"] != second["metadata"]["uid"]
    assert replay.oddities == []


@pytest.mark.parametrize("future", ["error", "gone", "silent"])
@pytest.mark.parametrize("n_new", [0, 1, 3])
def test_survives_a_server_that_restarts_without_its_memory(server, future, n_new):
    server.future = future
    for name in ("a", "b", "c"):
        server.put(NODES, make_node(name))
    server.advance(1000)
    replay = Replay()

    with informing(server, replay):
        server.wait_for_informer(NODES)
        server.restart(forget=True)
        for name in ("b", "c", "d")[:n_new]:
            server.put(NODES, make_node(name))
        replay.wait_for_state_of(server)
        server.wait_for_informer(NODES)
        server.put(NODES, make_node("e"))
        replay.wait_for_state_of(server)

    assert replay.oddities == []


def test_notices_another_world_that_has_come_just_as_far(server):
    """Versions alone would not tell: the new world is past ours, with other objects."""
    server.put(NODES, make_node("a"))
    replay = Replay()

    with informing(server, replay):
        server.wait_for_informer(NODES)
        server.advance(10)
        server.swap(NODES, make_node("a"))
        assert replay.wait_for(lambda: replay.kinds().count("Synced") == 2)

    assert replay.kinds() == ["Added", "Synced", "Deleted", "Added", "Synced"]


def test_a_restart_that_changed_nothing_tells_nothing(server):
    server.put(NODES, make_node("a"))
    replay = Replay()

    with informing(server, replay):
        server.wait_for_informer(NODES)
        server.restart()
        server.wait_for_informer(NODES, n_earlier=1)
        server.put(NODES, make_node("b"))
        replay.wait_for_state_of(server)

    assert [kind for kind in replay.kinds() if kind != "Synced"] == ["Added", "Added"]


def test_reads_lists_page_by_page(server):
    for i in range(1203):
        server.put(NODES, {"metadata": {"name": f"n{i:04}"}})
    replay = Replay()

    with informing(server, replay) as informer:
        assert informer.wait_synced(DEADLINE_S)

    assert len(replay.state) == 1203
    assert [r.query["limit"] for r in server.requests if "watch" not in r.query][:3] == ["500"] * 3


def test_a_throttled_watch_waits_and_keeps_its_version(server):
    server.put(NODES, make_node("a"))
    replay = Replay()

    with informing(server, replay):
        server.wait_for_informer(NODES)
        server.fail_next(refusal(429, "slow down", retry_after="0"), query="watch", times=3)
        server.end_watches()
        server.wait_for_informer(NODES, n_earlier=4)

    assert server.n_lists(NODES) == 1


def test_a_silent_watch_is_taken_for_dead_and_resumed(server):
    server.put(NODES, make_node("a"))
    replay = Replay()

    with informing(server, replay, quiet_s=0.3):
        server.wait_for_watch(NODES, n_earlier=1)
        server.put(NODES, make_node("b"))
        replay.wait_for_state_of(server)

    assert server.n_lists(NODES) == 1


def test_refusals_are_outlived(server):
    server.put(NODES, make_node("a"))
    server.fail_next(refusal(403, "nodes is forbidden", reason="Forbidden"), times=2)
    server.fail_next(refusal(404, "no such resource"), times=1)
    replay = Replay()

    with informing(server, replay) as informer:
        assert informer.wait_synced(DEADLINE_S)

    replay.wait_for_state_of(server)


def test_selectors_go_with_every_request(server):
    replay = Replay()

    with informing(server, replay, params={"labelSelector": "zone=z1"}):
        server.wait_for_informer(NODES)
        server.end_watches()
        server.wait_for_informer(NODES, n_earlier=1)

    assert {r.query["labelSelector"] for r in server.requests} == {"zone=z1"}


@pytest.mark.parametrize("error", [ValueError("a bug"), GoneError("not the watch's")])
def test_a_handler_that_raises_ends_the_informer_for_all_to_see(server, error):
    server.put(NODES, make_node("a"))
    stop = threading.Event()

    def fail(event: Event[Node]) -> None:
        raise error

    with Client.for_url(server.url) as client:
        informer = Informer(client, NODES, Node, on_event=fail, stop=stop, rng=Hasty())
        informer.start()
        informer.join(DEADLINE_S)

    assert not informer.is_alive
    assert not informer.is_synced
    assert error in (informer.failure, informer.failure.__cause__)


def test_stopping_does_not_wait_for_a_quiet_watch(server):
    replay = Replay()
    with informing(server, replay, quiet_s=3600.0) as informer:
        server.wait_for_informer(NODES)

    assert informer.failure is None


def test_namespaced_objects_are_kept_by_namespace_and_name(server):
    server.put(PODS, make_pod("web", namespace="blue"))
    server.put(PODS, make_pod("web", namespace="green"))
    stop = threading.Event()
    with Client.for_url(server.url) as client:
        informer: Informer[Pod] = Informer(
            client, PODS, Pod, on_event=lambda event: None, stop=stop, rng=Hasty()
        )
        informer.start()
        assert informer.wait_synced(DEADLINE_S)
        stop.set()
        informer.join(DEADLINE_S)

    assert set(informer.store) == {"blue/web", "green/web"}


_names = st.sampled_from(["a", "b", "c"])
_steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), _names),
        st.tuples(st.just("put"), _names),
        st.tuples(st.just("remove"), _names),
        st.tuples(st.just("remake"), _names),
        st.tuples(st.just("end"), st.sampled_from(["clean", "cut"])),
        st.tuples(st.just("compact"), st.none()),
        st.tuples(st.just("bookmark"), st.none()),
        st.tuples(st.just("advance"), st.none()),
        st.tuples(st.just("fail"), st.sampled_from([None, 410, 429, 500, 504])),
        st.tuples(st.just("restart"), st.booleans()),
        st.tuples(st.just("swap"), st.lists(_names, unique=True)),
        st.tuples(st.just("settle"), st.none()),
    ),
    max_size=25,
)


@given(steps=_steps, future=st.sampled_from(["error", "gone", "silent"]))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
def test_events_replay_to_the_servers_state_whatever_happens(steps, future):
    replay = Replay()
    with FakeApiServer() as server:
        server.future = future
        server.put(NODES, make_node("a"))
        with informing(server, replay):
            for i, (verb, argument) in enumerate(steps):
                perform(server, replay, verb, argument, mark=str(i))
            replay.wait_for_state_of(server)

    assert replay.oddities == []


def perform(server: FakeApiServer, replay: Replay, verb: str, argument: Any, *, mark: str) -> None:
    match verb:
        case "put":
            server.put(NODES, make_node(argument, labels={"mark": mark}))
        case "remove" | "remake":
            if argument in server.objects(NODES):
                server.remove(NODES, argument)
            if verb == "remake":
                server.put(NODES, make_node(argument))
        case "fail":
            server.fail_next(Answer(None) if argument is None else refusal(argument, "injected"))
        case "settle":
            replay.wait_for_state_of(server)
        case _:
            perform_fault(server, verb, argument)


def perform_fault(server: FakeApiServer, verb: str, argument: Any) -> None:
    match verb:
        case "end":
            server.end_watches(argument)
        case "compact":
            server.compact()
        case "bookmark":
            server.bookmark(NODES)
        case "advance":
            server.advance(7)
        case "restart":
            server.restart(forget=argument)
        case "swap":
            server.swap(NODES, *(make_node(name) for name in argument))
        case _:
            raise AssertionError(verb)
