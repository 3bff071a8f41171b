"""Who may talk to the simulated cluster: tokens, and the kubeconfig that carries them."""

import ipaddress
import os
import secrets
from pathlib import Path

import yaml

from kube.edge.settings import SettingsError

TOKEN_VARIABLE = "SIMULATOR_TOKEN"  # noqa: S105 (a variable's name, not a secret)


def choose_token(
    *, host: str, token_file: Path | None, write_token: Path | None, variable: str | None
) -> str | None:
    """Find the bearer token that clients must show; None lets everybody in.

    Args:
        host: Where the server will listen.
        token_file: Holds the token.
        write_token: Where to write a new token, if none is given; a token that is there is kept,
            so that a restart does not lock its clients out.
        variable: The value of ``SIMULATOR_TOKEN``.

    Raises:
        SettingsError: A file cannot be read or written or is empty, or the server would be open to
            other machines.
    """
    token = variable or None
    if token_file is not None:
        token = _read(token_file)
    elif write_token is not None and token is None:
        token = _read(write_token) if write_token.exists() else secrets.token_urlsafe(32)
    if token is not None and write_token is not None:
        write_private(write_token, f"{token}\n")
    if token is None and not is_loopback(host):
        raise SettingsError(
            f"refusing to listen on {host} without a token: other machines could reach it. "
            f"Give one by --token-file or {TOKEN_VARIABLE}, or have one made by --write-token"
        )
    return token


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach *host*."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def kubeconfig(*, url: str, token: str | None) -> str:
    """Write a kubeconfig with one cluster, the simulated one, as YAML."""
    name = "simulator"
    user = {} if token is None else {"token": token}
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [{"name": name, "cluster": {"server": url}}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        },
        sort_keys=False,
    )


def write_private(path: Path, text: str) -> None:
    """Replace a file as a whole with one that only its owner can read.

    Raises:
        SettingsError: It cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
        draft.replace(path)
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error


def _read(path: Path) -> str:
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from error
    if not token or any(c.isspace() for c in token):
        raise SettingsError(f"{path}: must hold one token")
    return token
