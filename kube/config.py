"""Which API server to talk to, and as whom.

Reading is left to the official ``kubernetes`` package, which knows every way to write a kubeconfig
(files, inline data, tokens, exec plugins, client certificates); its results end here, as a
``Cluster``, and its exceptions as ``ConfigError``.
"""

import os
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # undeclared

import urllib3
import yaml
from urllib3.util.ssl_ import create_urllib3_context

from kube.errors import ConfigError

SERVICE_ACCOUNT_DIR: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its own credentials."""


def _anonymous() -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """How to reach an API server."""

    server: str
    """URL without a trailing slash; may hold a path."""
    auth_headers: Callable[[], Mapping[str, str]] = _anonymous
    """Gives the headers to authenticate with now; renews a token that is about to expire."""
    ssl_context: ssl.SSLContext | None = None
    """For https: whom to trust, and the client certificate."""
    tls_server_name: str | None = None
    """The name to expect in the server's certificate, if it is not that of the URL."""
    proxy_url: str | None = None
    """An HTTP proxy to go through."""
    reload: Callable[[], "Cluster"] | None = None
    """Reads everything again, for when the server no longer accepts the credentials."""


def load_cluster(
    *,
    kubeconfig: str | None = None,
    in_cluster: bool = False,
    context: str | None = None,
    env: Mapping[str, str],
    service_account_dir: Path = SERVICE_ACCOUNT_DIR,
) -> Cluster:
    """Find out which API server to talk to.

    The first of these that applies: the file given, the files that ``KUBECONFIG`` names, the
    service account of the pod we run in, ``~/.kube/config``.

    Args:
        kubeconfig: A file.
        in_cluster: Insist on the pod's service account; a file given goes before it.
        context: Which context of a kubeconfig to use instead of its current one.
        env: Usually ``os.environ``.
        service_account_dir: Where the pod's token and CA certificate are.

    Raises:
        ConfigError: There is no usable configuration; the message names the file.
    """

    def load() -> Cluster:
        if files:
            return _from_kubeconfig(files, context=context, env=env, reload=load)
        return _from_service_account(service_account_dir, env=env, reload=load)

    files = kubeconfig or ("" if in_cluster else env.get("KUBECONFIG", ""))
    if not files and not in_cluster and not env.get("KUBERNETES_SERVICE_HOST"):
        files = str(Path(env["HOME"] if env.get("HOME") else Path.home()) / ".kube" / "config")
    return load()


class _Found(SimpleNamespace):
    """Takes the place of the package's ``Configuration``, without its global state and proxies."""

    def __init__(self) -> None:
        super().__init__(api_key={}, host="", ssl_ca_cert=None, cert_file=None, key_file=None)
        self.verify_ssl = True
        self.tls_server_name: str | None = None
        self.proxy: str | None = None
        self.refresh_api_key_hook: Callable[[Any], None] | None = None


def _from_kubeconfig(
    files: str, *, context: str | None, env: Mapping[str, str], reload: Callable[[], Cluster]
) -> Cluster:
    # Imported here because it takes half a second, which those who bring a URL need not wait.
    from kubernetes.config import ConfigException, kube_config

    if not any(Path(file).expanduser().exists() for file in files.split(os.pathsep)):
        raise ConfigError(f"{files}: no such file")
    found = _Found()
    try:
        merger = kube_config.KubeConfigMerger(files)
        loader = kube_config.KubeConfigLoader(
            merger.config,
            active_context=context,
            config_base_path=None,
            config_persister=merger.save_changes,
        )
        loader.load_and_set(found)
        _check_user(merger.config, loader.current_context["context"].get("user"), found)
    except (OSError, yaml.YAMLError, ConfigException, ConfigError) as error:
        raise ConfigError(f"{files}: {error}") from error
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        # The package trips in these ways over files that are YAML, but no kubeconfig.
        raise ConfigError(f"{files}: not a kubeconfig: {error!r}") from error
    return _to_cluster(found, source=files, env=env, reload=reload)


def _check_user(config: Any, name: str | None, found: _Found) -> None:
    """Refuse what the package merely logs: going on as nobody would end in a puzzling 403.

    Raises:
        ConfigError: The user is not there, or its plugin gave no credentials.
    """
    if name is None:
        return
    user = config["users"].get_with_name(name, safe=True)
    if user is None:
        raise ConfigError(f"there is no user {name!r}")
    has_plugin = isinstance(user.value["user"], dict) and "exec" in user.value["user"]
    if has_plugin and not found.api_key and found.cert_file is None:
        command = user.value["user"]["exec"].get("command")
        raise ConfigError(f"user {name!r}: the exec plugin {command!r} gave no credentials")


def _from_service_account(
    directory: Path, *, env: Mapping[str, str], reload: Callable[[], Cluster]
) -> Cluster:
    # Imported here for the same reason as above.
    from kubernetes.config import ConfigException, incluster_config

    found = _Found()
    try:
        incluster_config.InClusterConfigLoader(
            token_filename=str(directory / "token"),
            cert_filename=str(directory / "ca.crt"),
            environ=env,
        ).load_and_set(found)
    except (OSError, UnicodeDecodeError, ConfigException) as error:
        raise ConfigError(f"in-cluster configuration in {directory}: {error}") from error
    return _to_cluster(found, source=str(directory), env=env, reload=reload)


def _to_cluster(
    found: _Found, *, source: str, env: Mapping[str, str], reload: Callable[[], Cluster]
) -> Cluster:
    url = urlsplit(found.host)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ConfigError(f"{source}: the server {found.host!r} is no http or https URL")
    return Cluster(
        server=found.host.rstrip("/"),
        auth_headers=_auth_headers(found),
        ssl_context=_ssl_context(found, source=source) if url.scheme == "https" else None,
        tls_server_name=found.tls_server_name,
        proxy_url=found.proxy or _proxy_of(url.scheme, host=url.netloc, env=env),
        reload=reload,
    )


def _auth_headers(found: _Found) -> Callable[[], Mapping[str, str]]:
    """Make the function that gives the headers to authenticate with."""
    lock = threading.Lock()

    def auth_headers() -> Mapping[str, str]:
        with lock:
            if found.refresh_api_key_hook is not None:
                found.refresh_api_key_hook(found)
            # Token files end in a newline, which would be no valid header.
            token = next(iter(found.api_key.values()), "").strip()
        return {"Authorization": token} if token else {}

    return auth_headers


def _ssl_context(found: _Found, *, source: str) -> ssl.SSLContext:
    ssl_context = create_urllib3_context()
    # Python 3.13 asks more of a CA than kubectl does, and than clusters' own CAs fulfil.
    ssl_context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not found.verify_ssl:
        ssl_context.check_hostname = False
        ssl_context.verify_mode = ssl.CERT_NONE
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    try:
        if found.ssl_ca_cert:
            ssl_context.load_verify_locations(cafile=found.ssl_ca_cert)
        else:
            ssl_context.load_default_certs()
        if found.cert_file:
            # Without a password given, OpenSSL would ask for one on the terminal.
            ssl_context.load_cert_chain(found.cert_file, found.key_file, password="")
    except OSError as error:  # ssl.SSLError is one, too
        named = f"{found.ssl_ca_cert}, {found.cert_file}, {found.key_file}"
        raise ConfigError(f"{source}: unusable certificates ({named}): {error}") from error
    return ssl_context


def _proxy_of(scheme: str, *, host: str, env: Mapping[str, str]) -> str | None:
    """Find the proxy that the environment names for *host*, which is none for this machine."""
    by_case = {**{name.lower(): value for name, value in env.items()}, **env}
    never = f"localhost,127.0.0.1,[::1],{by_case.get('no_proxy', '')}"
    if proxy_bypass_environment(host, {"no": never}):
        return None
    return by_case.get(f"{scheme}_proxy") or None
