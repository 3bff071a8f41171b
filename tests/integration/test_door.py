import asyncio
import base64
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import urlopen

import pytest
import yaml

from kube.door import flatten, inside, main, outside
from kube.errors import ConfigError


def write_kubeconfig(folder: Path, *, server="https://127.0.0.1:6443", user=None, cluster=None):
    path = folder / "config"
    config = {
        "current-context": "mine",
        "contexts": [{"name": "mine", "context": {"cluster": "c", "user": "u", "namespace": "n"}}],
        "clusters": [{"name": "c", "cluster": {"server": server, **(cluster or {})}}],
        "users": [{"name": "u", "user": user or {}}],
    }
    path.write_text(yaml.safe_dump(config))
    return path


def flat(path: Path, *, folder: Path | None = None):
    text, address = flatten(path, folder=folder or path.parent, advertise="gate:6443")
    config = yaml.safe_load(text)
    return config["clusters"][0]["cluster"], config["users"][0]["user"], address


def test_files_beside_the_kubeconfig_are_taken_in(tmp_path):
    (tmp_path / "ca.crt").write_bytes(b"CA")
    (tmp_path / "client.key").write_bytes(b"KEY")
    (tmp_path / "token").write_text("secret\n")
    path = write_kubeconfig(
        tmp_path,
        cluster={"certificate-authority": "ca.crt"},
        user={"client-key": str(tmp_path / "client.key"), "tokenFile": "token"},
    )

    cluster, user, _ = flat(path)

    assert base64.b64decode(cluster["certificate-authority-data"]) == b"CA"
    assert base64.b64decode(user["client-key-data"]) == b"KEY"
    assert user["token"] == "secret"
    assert "certificate-authority" not in cluster


def test_the_folder_may_be_mounted_elsewhere(tmp_path):
    write_kubeconfig(tmp_path, user={"tokenFile": "/home/someone/.kube/token"})
    (tmp_path / "token").write_text("secret")

    _, user, _ = flat(Path("/home/someone/.kube/config"), folder=tmp_path)

    assert user == {"token": "secret"}


def test_the_server_is_known_by_its_own_name(tmp_path):
    cluster, _, address = flat(write_kubeconfig(tmp_path))

    assert cluster["server"] == "https://gate:6443"
    assert cluster["tls-server-name"] == "127.0.0.1"
    assert address == ("127.0.0.1", 6443)


@pytest.mark.parametrize(
    ("user", "says"),
    [
        pytest.param({"exec": {"command": "x"}}, "plugin", id="exec plugin"),
        pytest.param({"tokenFile": "missing"}, "cannot read missing", id="missing file"),
        pytest.param({"tokenFile": "/etc/token"}, "outside", id="file elsewhere"),
    ],
)
def test_what_cannot_work_is_said(tmp_path, user, says):
    with pytest.raises(ConfigError, match=says):
        flat(write_kubeconfig(tmp_path, user=user))


def test_an_unusable_kubeconfig_ends_the_program_with_2(tmp_path, capsys):
    (tmp_path / "config").write_text("clusters: 3")

    here = f"{tmp_path}"
    code = main(
        [
            "outside",
            "--kubeconfig",
            f"{here}/config",
            "--folder",
            here,
            "--directory",
            here,
            "--owner=0",
        ]
    )

    assert code == 2
    assert "not a usable kubeconfig" in capsys.readouterr().err


class Hello(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello " * 50_000)

    def log_message(self, *_):
        pass


def test_a_request_reaches_the_server_through_both_sides(tmp_path, unused_port, uid):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hello)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    path = write_kubeconfig(tmp_path, server=f"http://127.0.0.1:{server.server_port}")

    async def through() -> bytes:
        out = outside(path=path, folder=tmp_path, directory=tmp_path, advertise="gate:1", owner=uid)
        sides = [
            asyncio.create_task(out),
            asyncio.create_task(inside(directory=tmp_path, port=unused_port)),
        ]
        for _ in range(100):
            await asyncio.sleep(0.05)
            if (tmp_path / "kubeconfig").exists():
                break
        try:
            url = f"http://127.0.0.1:{unused_port}/"
            return await asyncio.to_thread(lambda: urlopen(url, timeout=10).read())
        finally:
            for side in sides:
                side.cancel()
            await asyncio.gather(*sides, return_exceptions=True)

    content = asyncio.run(through())
    server.shutdown()
    server.server_close()

    assert content == b"hello " * 50_000
    assert yaml.safe_load((tmp_path / "kubeconfig").read_text())["current-context"] == "door"
