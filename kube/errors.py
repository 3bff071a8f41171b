"""What can go wrong between us and an API server, named for the reaction it asks for.

KubeError
├── ConfigError         kubeconfig or credentials are unusable: exit, do not retry
├── UnavailableError    no answer, or a 5xx: retry with back-off
│   └── ThrottledError  429: retry after the time it names
├── GoneError           410: the version is compacted away, list anew
├── NotFoundError       404: the object is gone, forget it
├── ConflictError       409: someone was faster, read again or drop
└── RejectedError       any other 4xx: the request is wrong or not allowed, do not repeat it
"""


class KubeError(Exception):
    """Any failure between us and an API server."""


class ConfigError(KubeError):
    """The kubeconfig or the credentials it names are unusable."""


class UnavailableError(KubeError):
    """The server did not answer, or answered that it cannot serve."""


class ThrottledError(UnavailableError):
    """The server asks to wait.

    Args:
        message: The server's words.
        retry_after_s: How long to wait, in seconds.
    """

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class GoneError(KubeError):
    """The requested version is no longer kept."""


class NotFoundError(KubeError):
    """There is no such object."""


class ConflictError(KubeError):
    """The object was changed, exists already, or is bound already."""


class RejectedError(KubeError):
    """The server understood and refused.

    Args:
        message: The server's words.
        code: The HTTP status, 300 to 499 (a redirect is a wrong address).
    """

    def __init__(self, message: str, *, code: int) -> None:
        super().__init__(message)
        self.code = code
