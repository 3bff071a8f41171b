import base64
import json
import ssl
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from kube.client import Client
from kube.config import Cluster, load_cluster
from kube.errors import ConfigError, UnavailableError
from tests.fakes import FakeApiServer
from tests.tls_front import make_certificates

SERVER = "http://127.0.0.1:8001"


def write_kubeconfig(
    path: Path,
    *,
    cluster: dict[str, Any] | None = None,
    user: dict[str, Any] | None = None,
    context: str = "main",
) -> Path:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "clusters": [{"name": context, "cluster": {"server": SERVER, **(cluster or {})}}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
        "users": [{"name": context, "user": user or {}}],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(document))
    return path


def write_exec_plugin(path: Path, *, body: str) -> dict[str, Any]:
    """Write a plugin in Python that prints *body*'s ``status``; give the kubeconfig's user."""
    version = "client.authentication.k8s.io/v1"
    path.write_text(
        f"#!{sys.executable}\nimport json, pathlib, sys\n{body}\n"
        f"print(json.dumps({{'apiVersion': '{version}', 'kind': 'ExecCredential',"
        " 'status': status}))\n"
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return {
        "exec": {"apiVersion": version, "command": str(path), "interactiveMode": "Never"},
    }


def authorization(cluster: Cluster) -> str | None:
    return cluster.auth_headers().get("Authorization")


def test_a_plain_server_without_a_user_will_do(tmp_path):
    path = tmp_path / "config"
    path.write_text(
        f"clusters: [{{name: sim, cluster: {{server: '{SERVER}/'}}}}]\n"
        "contexts: [{name: sim, context: {cluster: sim}}]\n"
        "current-context: sim\n"
    )

    cluster = load_cluster(kubeconfig=str(path), env={})

    assert cluster.server == SERVER
    assert cluster.auth_headers() == {}
    assert cluster.ssl_context is None


def test_a_token_is_a_bearers(tmp_path):
    path = write_kubeconfig(tmp_path / "config", user={"token": "secret"})

    assert authorization(load_cluster(kubeconfig=str(path), env={})) == "Bearer secret"


def test_a_password_is_basic_authentication(tmp_path):
    path = write_kubeconfig(tmp_path / "config", user={"username": "ada", "password": "love"})

    encoded = base64.b64encode(b"ada:love").decode()
    assert authorization(load_cluster(kubeconfig=str(path), env={})) == f"Basic {encoded}"


def test_a_token_file_is_found_beside_the_kubeconfig_and_read_anew(tmp_path):
    (tmp_path / "token").write_text("first\n")
    path = write_kubeconfig(tmp_path / "config", user={"tokenFile": "token"})

    cluster = load_cluster(kubeconfig=str(path), env={})
    (tmp_path / "token").write_text("second\n")

    assert authorization(cluster) == "Bearer first"
    assert cluster.reload is not None
    assert authorization(cluster.reload()) == "Bearer second"


def test_an_exec_plugin_gives_a_token(tmp_path):
    user = write_exec_plugin(tmp_path / "plugin", body="status = {'token': 'from-plugin'}")
    path = write_kubeconfig(tmp_path / "config", user=user)

    assert authorization(load_cluster(kubeconfig=str(path), env={})) == "Bearer from-plugin"


def test_an_exec_plugin_runs_again_once_its_token_expires(tmp_path):
    body = (
        f"runs = pathlib.Path({str(tmp_path / 'runs')!r})\n"
        "runs.write_text(runs.read_text() + 'x' if runs.exists() else 'x')\n"
        "status = {'token': runs.read_text(), 'expirationTimestamp': '2020-01-01T00:00:00Z'}"
    )
    path = write_kubeconfig(
        tmp_path / "config", user=write_exec_plugin(tmp_path / "plugin", body=body)
    )

    cluster = load_cluster(kubeconfig=str(path), env={})

    assert [authorization(cluster), authorization(cluster)] == ["Bearer xx", "Bearer xxx"]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("sys.exit('not logged in')", id="fails"),
        pytest.param("status = {}", id="gives nothing"),
        pytest.param("print('oops'); status = {'token': 't'}", id="prints no JSON"),
    ],
)
def test_an_exec_plugin_without_credentials_is_named(tmp_path, body):
    user = write_exec_plugin(tmp_path / "plugin", body=body)
    path = write_kubeconfig(tmp_path / "config", user=user)

    with pytest.raises(ConfigError, match=r"config: user 'main': .*plugin' gave no credentials"):
        load_cluster(kubeconfig=str(path), env={})


def test_an_exec_plugin_that_is_not_installed_is_named(tmp_path):
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "no-such-plugin"}}
    path = write_kubeconfig(tmp_path / "config", user=user)

    with pytest.raises(ConfigError, match="no-such-plugin"):
        load_cluster(kubeconfig=str(path), env={})


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param("", "empty", id="empty"),
        pytest.param("{", "expected", id="no YAML"),
        pytest.param("just text", "not a kubeconfig", id="text"),
        pytest.param("[1, 2]", "not a kubeconfig", id="list"),
        pytest.param("clusters: 7", "not a kubeconfig", id="wrong types"),
        pytest.param("clusters: []", "current-context", id="no context"),
        pytest.param("current-context: a\ncontexts: []", "name a", id="context is not there"),
        pytest.param(b"\xff\xfe\x00", "config", id="binary"),
    ],
)
def test_an_unusable_file_is_named(tmp_path, content, says):
    path = tmp_path / "config"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())

    with pytest.raises(ConfigError, match=says) as caught:
        load_cluster(kubeconfig=str(path), env={})

    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere: no such file"):
        load_cluster(kubeconfig=str(tmp_path / "nowhere"), env={})


def test_a_user_that_is_not_there_is_named(tmp_path):
    path = write_kubeconfig(tmp_path / "config")
    path.write_text(path.read_text().replace("user: main", "user: ghost"))

    with pytest.raises(ConfigError, match="no user 'ghost'"):
        load_cluster(kubeconfig=str(path), env={})


@pytest.mark.parametrize("server", ["127.0.0.1:8001", "ftp://x", "https://", ""])
def test_a_server_that_is_no_url_is_refused(tmp_path, server):
    path = write_kubeconfig(tmp_path / "config", cluster={"server": server})

    with pytest.raises(ConfigError, match=r"config: "):
        load_cluster(kubeconfig=str(path), env={})


@pytest.mark.parametrize(
    "cluster",
    [
        {"server": "https://127.0.0.1:1", "certificate-authority": "no-such.crt"},
        {"server": "https://127.0.0.1:1", "certificate-authority-data": "bm8gY2VydA=="},
        {"server": "https://127.0.0.1:1", "certificate-authority-data": "%%%"},
    ],
    ids=["missing", "no certificate", "no base64"],
)
def test_unusable_certificates_are_an_error_of_the_file(tmp_path, cluster):
    path = write_kubeconfig(tmp_path / "config", cluster=cluster)

    with pytest.raises(ConfigError, match=r"config: "):
        load_cluster(kubeconfig=str(path), env={})


def test_the_context_can_be_chosen(tmp_path):
    first = write_kubeconfig(tmp_path / "a", context="a", user={"token": "of-a"})
    second = write_kubeconfig(tmp_path / "b", context="b", user={"token": "of-b"})
    env = {"KUBECONFIG": f"{first}:{tmp_path / 'missing'}:{second}"}

    assert authorization(load_cluster(context="a", env=env)) == "Bearer of-a"
    assert authorization(load_cluster(context="b", env=env)) == "Bearer of-b"


def make_service_account(directory: Path, *, token: str = "of-pod", ca: str = "") -> Path:
    directory.mkdir()
    (directory / "token").write_text(token)
    (directory / "ca.crt").write_text(ca or system_ca())
    return directory


def system_ca() -> str:
    """Give any certificate that loads, from Python's own bundle."""
    import certifi

    first, end, _ = Path(certifi.where()).read_text().partition("-----END CERTIFICATE-----\n")
    return first + end


IN_CLUSTER = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}


def test_a_pod_uses_its_service_account(tmp_path):
    account = make_service_account(tmp_path / "account")

    cluster = load_cluster(env=IN_CLUSTER, service_account_dir=account)

    assert cluster.server == "https://[fd00::1]:443"
    assert authorization(cluster) == "bearer of-pod"
    assert cluster.ssl_context is not None
    assert cluster.ssl_context.verify_mode == ssl.CERT_REQUIRED


def test_a_rotated_service_account_token_is_read_anew(tmp_path):
    account = make_service_account(tmp_path / "account")
    cluster = load_cluster(env=IN_CLUSTER, service_account_dir=account)
    (account / "token").write_text("rotated")

    assert cluster.reload is not None
    assert authorization(cluster.reload()) == "bearer rotated"


def test_what_is_said_more_directly_goes_first(tmp_path):
    account = make_service_account(tmp_path / "account")
    home = tmp_path / "home"
    write_kubeconfig(home / ".kube" / "config", user={"token": "of-home"})
    named = write_kubeconfig(tmp_path / "named", user={"token": "of-env"})
    given = write_kubeconfig(tmp_path / "given", user={"token": "of-argument"})

    def who(env: dict[str, str], **kwargs: Any) -> str | None:
        environment = {"HOME": str(home), **env}
        cluster = load_cluster(env=environment, service_account_dir=account, **kwargs)
        return authorization(cluster)

    everything = {"KUBECONFIG": str(named), **IN_CLUSTER}
    assert who(everything, kubeconfig=str(given), in_cluster=True) == "Bearer of-argument"
    assert who(everything, in_cluster=True) == "bearer of-pod"
    assert who(everything) == "Bearer of-env"
    assert who(IN_CLUSTER) == "bearer of-pod"
    assert who({}) == "Bearer of-home"


def test_nothing_at_all_names_the_file_looked_for(tmp_path):
    with pytest.raises(ConfigError, match=r"\.kube/config: no such file"):
        load_cluster(env={"HOME": str(tmp_path)})


def test_insisting_on_a_service_account_elsewhere_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="in-cluster"):
        load_cluster(in_cluster=True, env={}, service_account_dir=tmp_path)


@pytest.mark.parametrize(
    ("server", "env", "proxy"),
    [
        ("http://10.0.0.1", {}, None),
        ("http://10.0.0.1", {"HTTP_PROXY": "http://proxy:3128"}, "http://proxy:3128"),
        ("http://10.0.0.1", {"HTTPS_PROXY": "http://proxy:3128"}, None),
        ("http://10.0.0.1", {"http_proxy": "http://proxy", "NO_PROXY": "10.0.0.1"}, None),
        ("http://api.example", {"http_proxy": "http://proxy", "no_proxy": ".example"}, None),
        ("http://127.0.0.1:8001", {"HTTP_PROXY": "http://proxy:3128"}, None),
        ("http://localhost:8001", {"HTTP_PROXY": "http://proxy:3128"}, None),
    ],
)
def test_the_environment_may_name_a_proxy(tmp_path, server, env, proxy):
    path = write_kubeconfig(tmp_path / "config", cluster={"server": server})

    assert load_cluster(kubeconfig=str(path), env=env).proxy_url == proxy


def test_the_kubeconfigs_proxy_goes_first(tmp_path):
    path = write_kubeconfig(tmp_path / "config", cluster={"proxy-url": "http://named:1"})

    cluster = load_cluster(kubeconfig=str(path), env={"HTTP_PROXY": "http://other:1"})

    assert cluster.proxy_url == "http://named:1"


@dataclass(frozen=True)
class Certificates:
    """An authority, a server for 127.0.0.1 and api.example, and a client; as PEM files."""

    folder: Path

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def data(self, name: str) -> str:
        return base64.b64encode((self.folder / name).read_bytes()).decode()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder)
    return Certificates(folder)


@pytest.fixture
def tls_server(certificates: Certificates) -> Iterator[FakeApiServer]:
    """A server over TLS that asks for a client certificate of its own authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.path("server.crt"), certificates.path("server.key"))
    context.load_verify_locations(certificates.path("ca.crt"))
    context.verify_mode = ssl.CERT_REQUIRED
    with FakeApiServer(ssl_context=context) as server:
        yield server


def ask(cluster: Cluster) -> list[Any]:
    with Client(cluster, timeout_s=10.0) as client:
        items: list[Any] = json.loads(client.get("/api/v1/nodes"))["items"]
        return items


@pytest.mark.parametrize("inline", [True, False], ids=["inline", "files"])
def test_certificates_of_both_sides_are_used(tmp_path, certificates, tls_server, inline):
    def put(key: str, file: str) -> dict[str, str]:
        if inline:
            return {f"{key}-data": certificates.data(file)}
        return {key: certificates.path(file)}

    path = write_kubeconfig(
        tmp_path / "config",
        cluster={"server": tls_server.url, **put("certificate-authority", "ca.crt")},
        user={**put("client-certificate", "client.crt"), **put("client-key", "client.key")},
    )

    assert ask(load_cluster(kubeconfig=str(path), env={})) == []


def tls_config(
    path: Path, server: FakeApiServer, certificates: Certificates, **cluster: Any
) -> str:
    client = {
        "client-certificate": certificates.path("client.crt"),
        "client-key": certificates.path("client.key"),
    }
    settings = {"server": server.url, "certificate-authority": certificates.path("ca.crt")}
    return str(write_kubeconfig(path, cluster={**settings, **cluster}, user=client))


def test_a_server_of_another_authority_is_not_trusted(tmp_path, certificates, tls_server):
    stranger = {"certificate-authority": certificates.path("stranger.crt")}
    path = tls_config(tmp_path / "config", tls_server, certificates, **stranger)

    with pytest.raises(UnavailableError, match=r"(?i)certificate"):
        ask(load_cluster(kubeconfig=path, env={}))


def test_a_server_of_another_name_is_not_trusted(tmp_path, certificates, tls_server):
    other = {"tls-server-name": "other.example"}
    path = tls_config(tmp_path / "config", tls_server, certificates, **other)

    with pytest.raises(UnavailableError, match=r"(?i)certificate"):
        ask(load_cluster(kubeconfig=path, env={}))


def test_the_name_to_expect_can_be_given(tmp_path, certificates, tls_server):
    named = {"tls-server-name": "api.example"}
    path = tls_config(tmp_path / "config", tls_server, certificates, **named)

    assert ask(load_cluster(kubeconfig=path, env={})) == []


def test_verification_can_be_switched_off(tmp_path, certificates, tls_server):
    off = {
        "certificate-authority": certificates.path("stranger.crt"),
        "insecure-skip-tls-verify": True,
    }
    path = tls_config(tmp_path / "config", tls_server, certificates, **off)

    assert ask(load_cluster(kubeconfig=path, env={})) == []
