"""The API server's door for clients in the same process: requests without a network between.

What goes through are the bytes that would go over HTTP, answered by the same parts of the server:
whoever works through this door sees no more of the cluster than a client of a real one.
"""

from collections.abc import Callable

from kube.client import JSON, STRATEGIC_MERGE_PATCH, Client, Params
from kube.status import error_of, read_status
from scheduler.simulator.apiserver.dispatch import Dispatcher
from scheduler.simulator.apiserver.errors import ApiError
from scheduler.simulator.apiserver.requests import Request, Response, error_response


class LocalClient(Client):
    """Talks to the API server's dispatcher as ``Client`` talks to a server.

    Args:
        dispatcher: Answers.
        now_s: The cluster's time, Unix seconds.
        user_agent: How we introduce ourselves, as ``Client`` does; objects name who wrote what.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        *,
        now_s: Callable[[], float],
        user_agent: str = "ai-scheduler",
    ) -> None:
        self._dispatcher = dispatcher
        self._now_s = now_s
        self._user_agent = user_agent

    def close(self) -> None:
        """Nothing is open."""

    def now_s(self) -> float:
        """Tell the cluster's time (Unix time, in seconds)."""
        return self._now_s()

    def get(self, path: str, *, params: Params | None = None) -> bytes:
        """Read.

        Raises:
            KubeError: See ``kube.errors``; so for all verbs.
        """
        return self._ask("GET", path, params=params)

    def post(self, path: str, *, body: bytes, params: Params | None = None) -> bytes:
        """Create, or bind, or evict."""
        return self._ask("POST", path, params=params, body=body)

    def put(self, path: str, *, body: bytes, params: Params | None = None) -> bytes:
        """Replace."""
        return self._ask("PUT", path, params=params, body=body)

    def patch(
        self,
        path: str,
        *,
        body: bytes,
        content_type: str = STRATEGIC_MERGE_PATCH,
        params: Params | None = None,
    ) -> bytes:
        """Change some fields."""
        return self._ask("PATCH", path, params=params, body=body, content_type=content_type)

    def delete(
        self, path: str, *, body: bytes | None = None, params: Params | None = None
    ) -> bytes:
        """Delete."""
        return self._ask("DELETE", path, params=params, body=body or b"")

    def _ask(
        self,
        method: str,
        path: str,
        *,
        params: Params | None,
        body: bytes = b"",
        content_type: str = JSON,
    ) -> bytes:
        request = Request(
            method=method,
            path=path,
            query={key: str(value) for key, value in (params or {}).items()},
            accept=JSON,
            content_type=content_type if body else "",
            user_agent=self._user_agent,
            body=body,
        )
        try:
            answer = self._dispatcher.answer(request)
        except ApiError as error:
            answer = error_response(error)
        if not isinstance(answer, Response):
            raise TypeError("streams do not fit through this door")
        if 200 <= answer.status < 300:
            return answer.body
        raise error_of(
            answer.status,
            status=read_status(answer.body),
            headers=dict(answer.headers),
            request=f"{method} {path}",
        )
