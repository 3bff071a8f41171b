"""A door from a container's network to a cluster that only the host can reach.

``outside`` stands in the host's network. It writes a self-contained copy of the kubeconfig for the
programs inside and listens on a Unix socket in a shared folder; ``inside`` stands in the
containers' network and listens on a port. Each connection is handed through unchanged: TLS is
between program and API server, whose certificate is checked under its own name.
"""

import argparse
import asyncio
import base64
import contextlib
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

from kube.errors import ConfigError

_CHUNK_BYTES: Final = 65_536
_SOCKET: Final = "door.sock"
_FILES: Final = {
    "cluster": {"certificate-authority": "certificate-authority-data"},
    "user": {
        "client-certificate": "client-certificate-data",
        "client-key": "client-key-data",
        "tokenFile": "token",
    },
}

Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


def flatten(path: Path, *, folder: Path, advertise: str) -> tuple[str, tuple[str, int]]:
    """Make the current context of a kubeconfig self-contained and lead it through the door.

    Args:
        path: Where the kubeconfig lies for its owner; files that it names lie beside it or below.
        folder: Where that folder is to be found here.
        advertise: Host and port under which the programs find the door.

    Returns:
        The new kubeconfig, and host and port of the server that the old one names.

    Raises:
        ConfigError: The kubeconfig, or a file that it names, is missing or makes no sense.
    """
    try:
        config = yaml.safe_load((folder / path.name).read_text(encoding="utf-8"))
        current = config.get("current-context", "")
        context = _named(config, "context", current)
        cluster = _named(config, "cluster", context["cluster"])
        user = _named(config, "user", context["user"]) if context.get("user") else {}
        server = urlsplit(cluster["server"])
    except (OSError, yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: not a usable kubeconfig: {error!r}") from error
    if "exec" in user or "auth-provider" in user:
        raise ConfigError(f"{path}: credentials by plugin do not work here; use a token")
    for kind, entry in (("cluster", cluster), ("user", user)):
        for key, inline in _FILES[kind].items():
            if key in entry:
                content = _read_beside(entry.pop(key), path=path, folder=folder)
                is_token = inline == "token"
                entry[inline] = (
                    content.decode().strip() if is_token else base64.b64encode(content).decode()
                )
    host, port = server.hostname or "", server.port or (443 if server.scheme == "https" else 80)
    if server.scheme == "https":
        cluster.setdefault("tls-server-name", host)
    cluster["server"] = f"{server.scheme}://{advertise}{server.path}"
    flat = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "door",
        "contexts": [{"name": "door", "context": {**context, "cluster": "door", "user": "door"}}],
        "clusters": [{"name": "door", "cluster": cluster}],
        "users": [{"name": "door", "user": user}],
    }
    return yaml.safe_dump(flat), (host, port)


def _named(config: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    for entry in config.get(f"{kind}s") or []:
        if entry["name"] == name:
            return dict(entry[kind])
    raise KeyError(f"{kind} {name!r}")


def _read_beside(name: str, *, path: Path, folder: Path) -> bytes:
    """Read a file that a kubeconfig names, relative to it or by an absolute path beside it.

    Raises:
        ConfigError: It lies elsewhere, or cannot be read.
    """
    target = Path(name)
    if target.is_absolute():
        try:
            target = target.relative_to(path.parent)
        except ValueError as error:
            raise ConfigError(
                f"{path}: {name} lies outside the kubeconfig's folder; "
                "make a kubeconfig with `kubectl config view --flatten --minify --raw`"
            ) from error
    try:
        return (folder / target).read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot read {name}: {error.strerror}") from error


async def relay(server: asyncio.Server) -> None:
    """Serve until cancelled."""
    async with server:
        await server.serve_forever()


def handler(
    connect: Connect,
) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """Make a connection handler that hands every connection on to *connect*'s."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await connect()
        except OSError:
            writer.close()  # the client sees a refused server, as it would without the door
            return
        try:
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        finally:
            for end in (writer, far_writer):
                end.close()

    return handle


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    # A connection that either side resets is simply over.
    with contextlib.suppress(ConnectionError):
        while data := await source.read(_CHUNK_BYTES):
            sink.write(data)
            await sink.drain()
        if sink.can_write_eof():
            sink.write_eof()


async def outside(*, path: Path, folder: Path, directory: Path, advertise: str, owner: int) -> None:
    """Write the kubeconfig for those inside, then hand their connections on to the server.

    Raises:
        ConfigError: The kubeconfig is unusable.
    """
    text, (host, port) = flatten(path, folder=folder, advertise=advertise)
    socket = directory / _SOCKET
    socket.unlink(missing_ok=True)
    connect = handler(lambda: asyncio.open_connection(host, port))
    server = await asyncio.start_unix_server(connect, path=str(socket))
    socket.chmod(0o600)  # before it is another's: the container may not change others' files
    os.chown(socket, owner, owner)
    fresh = directory / "kubeconfig.new"
    fresh.touch(mode=0o600)
    fresh.write_text(text, encoding="utf-8")
    os.chown(fresh, owner, owner)
    fresh.replace(directory / "kubeconfig")
    await relay(server)


async def inside(*, directory: Path, port: int) -> None:
    """Hand connections to *port* on to the socket."""
    connect = handler(lambda: asyncio.open_unix_connection(str(directory / _SOCKET)))
    # All interfaces of a container's own network; nothing publishes the port.
    await relay(await asyncio.start_server(connect, host="0.0.0.0", port=port))  # noqa: S104


def main(arguments: Sequence[str]) -> int:
    """Run one side of the door; see the module's text.

    Returns:
        The exit code: 2 if the kubeconfig is unusable.
    """
    parser = argparse.ArgumentParser(prog="python -m kube.door", description=__doc__)
    sides = parser.add_subparsers(dest="side", required=True)
    out = sides.add_parser("outside", help="in the host's network")
    out.add_argument("--kubeconfig", type=Path, required=True, help="its path on the host")
    out.add_argument("--folder", type=Path, required=True, help="where its folder is mounted")
    out.add_argument("--advertise", default="gate:6443", help="HOST:PORT of the inside")
    out.add_argument("--owner", type=int, required=True, help="user id of the programs")
    inn = sides.add_parser("inside", help="in the containers' network")
    inn.add_argument("--port", type=int, default=6443)
    for side in (out, inn):
        side.add_argument("--directory", type=Path, required=True, help="the shared folder")
    options = parser.parse_args(arguments)
    try:
        if options.side == "inside":
            asyncio.run(inside(directory=options.directory, port=options.port))
        else:
            asyncio.run(
                outside(
                    path=options.kubeconfig,
                    folder=options.folder,
                    directory=options.directory,
                    advertise=options.advertise,
                    owner=options.owner,
                )
            )
    except ConfigError as error:
        sys.stderr.write(f"door: {error}\n")
        return 2
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
