"""``/healthz``, ``/livez`` and ``/readyz``, plain and verbose."""

from scheduler.simulator.apiserver.requests import Request, Response

_PATHS = ("healthz", "livez", "readyz")
_CHECKS = ("ping", "log", "etcd")
_TEXT = "text/plain; charset=utf-8"


def answer_health(request: Request) -> Response | None:
    """The answer to a health address; None when it is none."""
    name, _, check = request.path.strip("/").partition("/")
    if name not in _PATHS:
        return None
    if check:
        if check not in _CHECKS:
            return Response(status=404, body=b"404 page not found\n", content_type=_TEXT)
        return Response(body=b"ok", content_type=_TEXT)
    if "verbose" not in request.query:
        return Response(body=b"ok", content_type=_TEXT)
    lines = [f"[+]{each} ok" for each in _CHECKS] + [f"{name} check passed", ""]
    return Response(body="\n".join(lines).encode(), content_type=_TEXT)
