import threading
import time
from collections.abc import Iterator

import pytest

from kube.client import MERGE_PATCH, STRATEGIC_MERGE_PATCH, Client
from kube.config import Cluster
from kube.errors import (
    ConfigError,
    ConflictError,
    GoneError,
    NotFoundError,
    RejectedError,
    ThrottledError,
    UnavailableError,
)
from kube.objects import Node, Pod
from tests.builders import make_node, make_pod
from tests.fakes import Answer, FakeApiServer, refusal

NODES = "/api/v1/nodes"
DEADLINE_S = 30.0


@pytest.fixture
def server() -> Iterator[FakeApiServer]:
    with FakeApiServer() as fake:
        yield fake


@pytest.fixture
def client(server: FakeApiServer) -> Iterator[Client]:
    with Client.for_url(server.url) as connected:
        yield connected


def test_reads_an_object_as_its_type(server, client):
    server.put(NODES, make_node("a", cpu="8"))

    node = client.get_object(f"{NODES}/a", Node)

    assert node.status.allocatable_amounts["cpu"] == 8000


def test_a_servers_path_prefix_is_kept(server):
    with Client.for_url(f"{server.url}/clusters/c1/") as client, pytest.raises(NotFoundError):
        client.get("/version")

    assert server.requests[0].path == "/clusters/c1/version"


@pytest.mark.parametrize(
    ("method", "kwargs", "content_type"),
    [
        ("post", {}, "application/json"),
        ("put", {}, "application/json"),
        ("patch", {}, STRATEGIC_MERGE_PATCH),
        ("patch", {"content_type": MERGE_PATCH}, MERGE_PATCH),
        ("delete", {}, "application/json"),
    ],
)
def test_bodies_go_out_as_they_are(server, client, method, kwargs, content_type):
    server.fail_next(Answer(200, b'{"ok":1}'))

    answer = getattr(client, method)("/x", body=b'{"a": 1}', params={"dryRun": "All"}, **kwargs)

    [request] = server.requests
    assert answer == b'{"ok":1}'
    assert (request.method, request.body) == (method.upper(), b'{"a": 1}')
    assert request.query == {"dryRun": "All"}
    assert request.headers["Content-Type"] == content_type
    assert request.headers["User-Agent"] == "ai-scheduler"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(refusal(400, "bad"), RejectedError, id="400"),
        pytest.param(refusal(401, "who?"), RejectedError, id="401"),
        pytest.param(refusal(403, "no"), RejectedError, id="403"),
        pytest.param(refusal(422, "invalid"), RejectedError, id="422"),
        pytest.param(Answer(302, b"", {"Location": "/login"}), RejectedError, id="redirect"),
        pytest.param(refusal(404, "gone"), NotFoundError, id="404"),
        pytest.param(refusal(409, "taken"), ConflictError, id="409"),
        pytest.param(refusal(410, "expired"), GoneError, id="410"),
        pytest.param(refusal(504, "Too large resource version: 9"), GoneError, id="too large"),
        pytest.param(refusal(429, "slow"), ThrottledError, id="429"),
        pytest.param(refusal(500, "oops"), UnavailableError, id="500"),
        pytest.param(refusal(503, "later"), UnavailableError, id="503"),
    ],
)
def test_refusals_are_named_for_the_reaction(server, client, answer, error):
    server.fail_next(answer)

    with pytest.raises(error, match=rf"GET /api/v1/nodes: {answer.status}") as caught:
        client.get(NODES)

    assert type(caught.value) is error
    assert len(server.requests) == 1


def test_errors_carry_the_servers_words(server, client):
    server.fail_next(refusal(409, "pod web-1 is already assigned", reason="Conflict"))

    with pytest.raises(ConflictError, match="pod web-1 is already assigned"):
        client.post("/api/v1/namespaces/default/pods/web-1/binding", body=b"{}")


def test_an_error_page_of_something_in_between_is_quoted_in_short(server, client):
    server.fail_next(Answer(502, b"<h1>Bad gateway \xff</h1>" * 1000))

    with pytest.raises(UnavailableError, match="<h1>Bad gateway") as caught:
        client.get(NODES)

    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [("7", 7.0), ("0", 0.0), ("99999999", 300.0), ("soon", 1.0), ("-1", 1.0), (None, 1.0)],
)
def test_a_throttled_client_is_told_how_long_to_wait(server, client, header, wait_s):
    headers = {} if header is None else {"Retry-After": header}
    server.fail_next(Answer(429, b"", headers))

    with pytest.raises(ThrottledError) as caught:
        client.get(NODES)

    assert caught.value.retry_after_s == wait_s


def test_a_server_error_may_ask_to_wait_too(server, client):
    server.fail_next(refusal(503, "starting", retry_after="3"))

    with pytest.raises(ThrottledError) as caught:
        client.get(NODES)

    assert caught.value.retry_after_s == 3.0


def test_no_server_is_an_outage(unused_port):
    url = f"http://127.0.0.1:{unused_port}"

    with Client.for_url(url) as client, pytest.raises(UnavailableError, match=str(unused_port)):
        client.get(NODES)


def test_a_name_that_does_not_resolve_to_a_valid_host_is_an_outage():
    with Client.for_url(f"http://{'a' * 70}.invalid") as client, pytest.raises(UnavailableError):
        client.get(NODES)


def test_a_slow_answer_is_an_outage(server):
    server.fail_next(Answer(200, delay_s=0.5))

    with Client.for_url(server.url, timeout_s=0.1) as client, pytest.raises(UnavailableError):
        client.get(NODES)

    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "body", [b"", b"<html/>", b'{"metadata": 5}', b'{"metadata":{"name":"\xff"}}']
)
def test_an_answer_that_is_no_such_object_is_an_outage(server, client, body):
    server.fail_next(Answer(200, body))

    with pytest.raises(UnavailableError, match="no Node"):
        client.get_object(f"{NODES}/a", Node)


def test_a_get_is_repeated_once_when_its_pooled_connection_was_closed(server, client):
    client.get(NODES)
    server.fail_next(Answer(None))

    client.get(NODES)

    assert len(server.requests) == 3


def test_a_get_is_not_repeated_for_ever(server, client):
    server.fail_next(Answer(None), times=5)

    with pytest.raises(UnavailableError):
        client.get(NODES)

    assert len(server.requests) == 2


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_a_write_is_never_repeated(server, client, method):
    server.fail_next(Answer(None))

    with pytest.raises(UnavailableError):
        getattr(client, method)("/api/v1/nodes/a", body=b"{}")

    assert len(server.requests) == 1


def test_connections_are_reused_after_a_restart_of_the_server(server, client):
    client.get(NODES)
    server.restart()

    client.get(NODES)
    client.post(NODES, body=b'{"metadata": {"name": "a"}}')

    assert set(server.objects(NODES)) == {"a"}


def test_lists_come_page_by_page_as_one(server, client):
    for i in range(25):
        server.put("/api/v1/pods", make_pod(f"web-{i:02}"))

    pods, version = client.list_objects("/api/v1/pods", Pod, page_size=10)

    assert [pod.key for pod in pods] == [f"default/web-{i:02}" for i in range(25)]
    assert version == "25"
    assert [r.query["limit"] for r in server.requests] == ["10", "10", "10"]


def test_a_list_starts_over_when_the_server_forgot_its_place(server, client):
    for i in range(5):
        server.put(NODES, make_node(f"n{i}"))
    server.fail_next(refusal(410, "continue is too old", reason="Expired"), query="continue")

    nodes, _ = client.list_objects(NODES, Node, page_size=2)

    assert [node.metadata.name for node in nodes] == ["n0", "n1", "n2", "n3", "n4"]


def test_a_list_that_never_ends_well_gives_up(server, client):
    for i in range(5):
        server.put(NODES, make_node(f"n{i}"))
    server.fail_next(refusal(410, "continue is too old"), query="continue", times=9)

    with pytest.raises(GoneError):
        client.list_objects(NODES, Node, page_size=2)

    assert len(server.requests) == 6


def test_null_items_are_no_items(server, client):
    server.fail_next(Answer(200, b'{"metadata": {"resourceVersion": "4"}, "items": null}'))

    assert client.list_objects(NODES, Node) == ([], "4")


def test_a_token_goes_with_every_request(server):
    server.token = "secret"

    with Client.for_url(server.url, token="secret") as client:
        client.get(NODES)
    with Client.for_url(server.url, token="guess") as client, pytest.raises(RejectedError):
        client.get(NODES)


def renewable(server: FakeApiServer, tokens: list[str]) -> Cluster:
    """Make a cluster whose credentials are the next of *tokens* each time they are read."""
    headers = {"Authorization": f"Bearer {tokens.pop(0)}"}
    return Cluster(
        server=server.url,
        auth_headers=lambda: headers,
        reload=lambda: renewable(server, tokens),
    )


@pytest.mark.parametrize("method", ["get", "post"])
def test_refused_credentials_are_read_anew_once(server, method):
    server.token = "new"
    body = {} if method == "get" else {"body": b'{"metadata": {"name": "a"}}'}

    with Client(renewable(server, ["old", "new"])) as client:
        getattr(client, method)(NODES, **body)

    assert [r.headers["Authorization"] for r in server.requests] == ["Bearer old", "Bearer new"]


def test_credentials_that_stay_wrong_are_refused(server):
    server.token = "new"

    cluster = renewable(server, ["old", "older", "oldest"])

    with Client(cluster) as client, pytest.raises(RejectedError) as caught:
        client.get(NODES)

    assert caught.value.code == 401
    assert len(server.requests) == 2


def test_credentials_that_cannot_be_read_anew_are_an_outage(server):
    server.token = "new"

    def fail() -> Cluster:
        raise ConfigError("no such file")

    cluster = Cluster(server=server.url, reload=fail)

    with Client(cluster) as client, pytest.raises(UnavailableError, match="no such file"):
        client.get(NODES)


def test_threads_renew_credentials_together(server):
    server.token = "new"
    tokens = ["old", "new", "unread"]
    with Client(renewable(server, tokens)) as client:
        threads = [threading.Thread(target=client.get, args=(NODES,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE_S)

    assert tokens == ["unread"]


def test_a_proxy_is_asked_for_the_whole_url(server):
    cluster = Cluster(server="http://cluster.example", proxy_url=server.url)

    with Client(cluster) as client, pytest.raises(NotFoundError):
        client.get("/version")

    assert server.requests[0].headers["Host"] == "cluster.example"


def test_a_proxy_of_another_kind_is_refused():
    with pytest.raises(ConfigError, match="socks5"):
        Client(Cluster(server="http://cluster.example", proxy_url="socks5://127.0.0.1:1"))


def test_streams_give_lines_as_they_come(server, client):
    server.put(NODES, make_node("a"))
    with client.stream(NODES, params={"watch": 1}, read_timeout_s=DEADLINE_S) as stream:
        first = next(stream)
        server.send(NODES, b"x" * 500_000)
        second = next(stream)
        server.end_watches()
        rest = list(stream)

    assert b'"ADDED"' in first
    assert len(second) == 500_000
    assert rest == []


def test_a_cut_stream_is_an_outage(server, client):
    server.put(NODES, make_node("a"))
    with client.stream(NODES, params={"watch": 1}, read_timeout_s=DEADLINE_S) as stream:
        next(stream)
        server.end_watches("cut")
        with pytest.raises(UnavailableError, match="broke"):
            next(stream)


def test_a_silent_stream_ends(server, client):
    with client.stream(NODES, params={"watch": 1}, read_timeout_s=0.2) as stream:
        assert list(stream) == []


def test_a_stream_can_be_closed_by_another_thread(server, client):
    with client.stream(NODES, params={"watch": 1}, read_timeout_s=3600.0) as stream:
        ended = threading.Event()

        def read() -> None:
            list(stream)
            ended.set()

        thread = threading.Thread(target=read)
        thread.start()
        deadline_s = time.monotonic() + DEADLINE_S
        while not ended.wait(0.05) and time.monotonic() < deadline_s:
            stream.close()
        thread.join(DEADLINE_S)

    assert ended.is_set()
    stream.close()


def test_a_refused_stream_is_an_error_like_any_other(server, client):
    server.fail_next(refusal(429, "slow", retry_after="5"))

    with pytest.raises(ThrottledError, match="slow"):
        client.stream(NODES, params={"watch": 1}, read_timeout_s=1.0)


def test_time_is_the_servers(server, client):
    server.date_s = 1_000_000.0
    client.get(NODES)

    assert 1_000_000.0 <= client.now_s() < 1_000_000.0 + DEADLINE_S


def test_time_is_ours_as_long_as_the_server_tells_none(server, client):
    server.sends_date = False
    client.get(NODES)

    assert abs(client.now_s() - time.time()) < DEADLINE_S
