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
    """Write ``ca.crt``, and certificate and key of a server at 127.0.0.1 and of a client."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("making certificates takes the openssl command")

    def run(*arguments: str) -> None:
        subprocess.run([openssl, *arguments], cwd=folder, check=True, capture_output=True)

    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    run(*("req", "-x509", *new_key, "-keyout", "ca.key", "-out", "ca.crt"), "-subj", "/CN=ca")
    for name, extension in (("server", "subjectAltName=IP:127.0.0.1"), ("client", "")):
        (folder / "extension").write_text(extension)
        run(*("req", *new_key, "-keyout", f"{name}.key", "-out", f"{name}.csr"), "-subj", "/CN=x")
        signed_by = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"]
        request = ["-req", "-in", f"{name}.csr", "-out", f"{name}.crt"]
        run("x509", *request, *signed_by, "-extfile", "extension")


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
