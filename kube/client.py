"""HTTP verbs against an API server: bytes in, bytes out, errors named for the reaction.

Nothing here knows what a pod is. Bodies come encoded and answers leave as bytes or as the type that
the caller names, because the official models cost twenty times as much as the request itself.
"""

import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlencode

import urllib3
from urllib3.exceptions import HTTPError, ProtocolError

from kube.clock import ServerClock
from kube.config import Cluster
from kube.decoding import decode_list, decode_object
from kube.errors import ConfigError, GoneError, KubeError, UnavailableError
from kube.status import error_of, read_status
from kube.stream import Stream

T = TypeVar("T")
Params = Mapping[str, str | int]

JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH: Final = "application/strategic-merge-patch+json"

_SOCKET_OPTIONS: Final = [
    *urllib3.connection.HTTPConnection.default_socket_options,
    # A watch may be silent for minutes: the kernel's probes find a peer that vanished.
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
        if hasattr(socket, name)  # not every system lets us choose
    ),
]
_MAX_LIST_RESTARTS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    method: str
    path: str
    params: Params | None = None
    body: bytes | None = None
    content_type: str = JSON
    stream_timeout_s: float | None = None
    """Set for an answer that is read bit by bit: how long it may be silent."""


@dataclass(frozen=True, slots=True)
class _Link:
    """Connections that share one set of credentials."""

    cluster: Cluster
    pool: urllib3.PoolManager


class Client:
    """Talks to one API server; may be shared by threads.

    Nothing is repeated on its own, but for two harmless cases: a GET whose pooled connection turned
    out to be closed, and a request that was refused (401) until the credentials were read anew.

    Args:
        cluster: Where the server is, and who we are.
        timeout_s: How long to wait for a connection, and for each part of an answer.
        pool_size: How many idle connections to keep.
        user_agent: How we introduce ourselves.

    Raises:
        ConfigError: The proxy is no HTTP proxy.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        timeout_s: float = 10.0,
        pool_size: int = 16,
        user_agent: str = "ai-scheduler",
    ) -> None:
        self._timeout_s = timeout_s
        self._pool_size = pool_size
        self._user_agent = user_agent
        self._clock = ServerClock()
        self._renewing = threading.Lock()
        self._link = self._connect(cluster)

    @classmethod
    def for_url(cls, url: str, *, token: str | None = None, timeout_s: float = 10.0) -> Self:
        """Talk to a server that asks for no more than a token, such as the simulated one."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        cluster = Cluster(server=url.rstrip("/"), auth_headers=lambda: headers)
        return cls(cluster, timeout_s=timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the idle connections; those in use are closed when they are done."""
        self._link.pool.clear()

    def now_s(self) -> float:
        """Tell the cluster's time (Unix time, in seconds); see ``ServerClock``."""
        return self._clock.now_s()

    def get(self, path: str, *, params: Params | None = None) -> bytes:
        """Read.

        Raises:
            KubeError: See ``kube.errors``; so for all verbs.
        """
        return self._send(_Request(method="GET", path=path, params=params)).data

    def post(self, path: str, *, body: bytes, params: Params | None = None) -> bytes:
        """Create, or bind, or evict."""
        return self._send(_Request(method="POST", path=path, params=params, body=body)).data

    def put(self, path: str, *, body: bytes, params: Params | None = None) -> bytes:
        """Replace."""
        return self._send(_Request(method="PUT", path=path, params=params, body=body)).data

    def patch(
        self,
        path: str,
        *,
        body: bytes,
        content_type: str = STRATEGIC_MERGE_PATCH,
        params: Params | None = None,
    ) -> bytes:
        """Change some fields."""
        request = _Request(
            method="PATCH", path=path, params=params, body=body, content_type=content_type
        )
        return self._send(request).data

    def delete(
        self, path: str, *, body: bytes | None = None, params: Params | None = None
    ) -> bytes:
        """Delete; *body* may hold DeleteOptions, such as preconditions."""
        return self._send(_Request(method="DELETE", path=path, params=params, body=body)).data

    def get_object(self, path: str, object_type: type[T]) -> T:
        """Read one object.

        Raises:
            KubeError: See ``kube.errors``; an answer that is no such object is an outage, too.
        """
        return decode_object(self.get(path), object_type)

    def list_objects(
        self, path: str, item_type: type[T], *, params: Params | None = None, page_size: int = 500
    ) -> tuple[list[T], str]:
        """Read all objects of a collection, page by page.

        Returns:
            The objects and the collection's resourceVersion, from which a watch can go on.

        Raises:
            GoneError: The server forgot, several times, where we were before the last page.
            KubeError: See ``kube.errors``.
        """
        first_page = {**(params or {}), "limit": page_size}
        for _ in range(_MAX_LIST_RESTARTS):
            with suppress(GoneError):
                return self._list_pages(path, item_type, first_page)
        return self._list_pages(path, item_type, first_page)

    def stream(self, path: str, *, params: Params | None = None, read_timeout_s: float) -> Stream:
        """Read an answer line by line, as it arrives.

        Args:
            path: As for the other verbs.
            params: As for the other verbs.
            read_timeout_s: After how long a silence the stream ends, in seconds.

        Raises:
            KubeError: See ``kube.errors``; while reading, ``UnavailableError``.
        """
        request = _Request(method="GET", path=path, params=params, stream_timeout_s=read_timeout_s)
        return Stream(self._send(request))

    def _list_pages(self, path: str, item_type: type[T], first_page: Params) -> tuple[list[T], str]:
        params = dict(first_page)
        items: list[T] = []
        while True:
            page = decode_list(self.get(path, params=params), item_type)
            items += page.items or []
            if not page.metadata.continue_:
                return items, page.metadata.resource_version
            params["continue"] = page.metadata.continue_

    def _connect(self, cluster: Cluster) -> _Link:
        settings: dict[str, Any] = {
            "maxsize": self._pool_size,
            "retries": False,
            "socket_options": _SOCKET_OPTIONS,
            "ssl_context": cluster.ssl_context,
            "server_hostname": cluster.tls_server_name,
        }
        if cluster.proxy_url is None:
            return _Link(cluster, urllib3.PoolManager(**settings))
        try:
            return _Link(cluster, urllib3.ProxyManager(cluster.proxy_url, **settings))
        except HTTPError as error:
            raise ConfigError(f"proxy {cluster.proxy_url!r}: {error}") from error

    def _renew(self, refused: _Link) -> _Link:
        """Read the credentials anew, once for all threads whose requests were refused.

        Raises:
            UnavailableError: They cannot be read now, which may be better later.
        """
        with self._renewing:
            if self._link is refused and refused.cluster.reload is not None:
                try:
                    self._link = self._connect(refused.cluster.reload())
                except ConfigError as error:
                    raise UnavailableError(f"cannot renew the credentials: {error}") from error
                refused.pool.clear()
            return self._link

    def _send(self, request: _Request) -> urllib3.BaseHTTPResponse:
        link = self._link
        response = self._send_over(link, request)
        if response.status == 401 and link.cluster.reload is not None:
            response.close()
            response = self._send_over(self._renew(link), request)
        if 200 <= response.status < 300:
            return response
        raise self._error_of(response, request)

    def _send_over(self, link: _Link, request: _Request) -> urllib3.BaseHTTPResponse:
        try:
            try:
                response = self._attempt(link, request)
            except ProtocolError:
                # The server may have closed an idle connection just as we took it from the pool.
                # Only a GET may be repeated: anything else may have been done already.
                if request.method != "GET":
                    raise
                response = self._attempt(link, request)
        except HTTPError as error:
            where = f"{request.method} {link.cluster.server}{request.path}"
            raise UnavailableError(f"{where}: {error}") from error
        self._clock.observe(response.headers.get("Date", ""))
        return response

    def _attempt(self, link: _Link, request: _Request) -> urllib3.BaseHTTPResponse:
        headers = {
            "Accept": JSON,
            "Accept-Encoding": "identity",
            "User-Agent": self._user_agent,
            **link.cluster.auth_headers(),
        }
        if request.body is not None:
            headers["Content-Type"] = request.content_type
        query = f"?{urlencode(request.params)}" if request.params else ""
        is_stream = request.stream_timeout_s is not None
        return link.pool.urlopen(
            request.method,
            f"{link.cluster.server}{request.path}{query}",
            body=request.body,
            headers=headers,
            redirect=False,
            preload_content=not is_stream,
            timeout=urllib3.Timeout(
                connect=self._timeout_s,
                read=request.stream_timeout_s if is_stream else self._timeout_s,
            ),
        )

    def _error_of(self, response: urllib3.BaseHTTPResponse, request: _Request) -> KubeError:
        try:
            body = response.data
        except HTTPError:
            body = b""
        finally:
            response.close()
        return error_of(
            response.status,
            status=read_status(body),
            headers=response.headers,
            request=f"{request.method} {request.path}",
        )
