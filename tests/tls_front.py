"""A TLS front of a plain HTTP server that demands a client certificate, as API servers do."""

import asyncio
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kube.door import handler


def make_certificates(folder: Path) -> None:
    """Write certificates and keys of an authority, a server, a client, and a stranger to it.

    The server's is for 127.0.0.1 and api.example; files are named ``ca.crt``, ``ca.key`` and so on.
    """
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("making certificates takes the openssl command")
    new = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]

    def make(name: str, *extra: str) -> None:
        out = ["-keyout", f"{name}.key", "-out", f"{name}.crt", "-subj", f"/CN={name}"]
        command = [*new, "-nodes", "-days", "2", *out, *extra]
        if subprocess.run(command, check=False, cwd=folder, capture_output=True).returncode:
            pytest.skip("making certificates takes OpenSSL 3")

    signed = ("-CA", "ca.crt", "-CAkey", "ca.key", "-addext", "basicConstraints=CA:FALSE")
    make("ca")
    make("server", *signed, "-addext", "subjectAltName=IP:127.0.0.1,DNS:api.example")
    make("client", *signed)
    make("stranger")


async def serve(folder: Path, plain_port: int) -> None:
    """Serve the server at *plain_port* by TLS; prints the port that it took."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    context.load_verify_locations(folder / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    hand_on = handler(lambda: asyncio.open_connection("127.0.0.1", plain_port))
    server = await asyncio.start_server(hand_on, host="127.0.0.1", port=0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def tls_front(folder: Path, *, plain_port: int) -> Iterator[int]:
    """Run ``serve`` in a process of its own; yields the port."""
    command = [sys.executable, "-m", "tests.tls_front", str(folder), str(plain_port)]
    root = Path(__file__).parents[1]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
