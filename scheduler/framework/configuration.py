"""Upstream's ``KubeSchedulerConfiguration``, as far as this scheduler goes; strict beyond."""

import re
from collections.abc import Iterator, Mapping
from functools import reduce
from operator import or_
from pathlib import Path
from types import GenericAlias
from typing import Annotated, Any, Final, Literal

import msgspec

from kube.edge.settings import Settings, SettingsError, load_settings
from scheduler.framework.interface import PluginArgs
from scheduler.framework.leader_election import LeaderElectionConfiguration
from scheduler.framework.registry import Registry

Weight = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]


class Enabled(Settings, frozen=True, rename="camel"):
    """A plugin to run."""

    name: str
    weight: Weight = 0
    """Of its score; 0 takes the default."""


class Disabled(Settings, frozen=True, rename="camel"):
    """A default plugin not to run; ``*`` for all of them."""

    name: str


class PluginSet(Settings, frozen=True, rename="camel"):
    """Changes to the plugins of one extension point."""

    enabled: tuple[Enabled, ...] = ()
    disabled: tuple[Disabled, ...] = ()


class Plugins(Settings, frozen=True, rename="camel"):
    """Changes to the default plugins. A single point's entry outdoes ``multiPoint``."""

    multi_point: PluginSet = PluginSet()
    queue_sort: PluginSet = PluginSet()
    pre_enqueue: PluginSet = PluginSet()
    pre_filter: PluginSet = PluginSet()
    filter: PluginSet = PluginSet()
    post_filter: PluginSet = PluginSet()
    pre_score: PluginSet = PluginSet()
    score: PluginSet = PluginSet()
    reserve: PluginSet = PluginSet()
    permit: PluginSet = PluginSet()
    pre_bind: PluginSet = PluginSet()
    bind: PluginSet = PluginSet()
    post_bind: PluginSet = PluginSet()


class PluginConfig(Settings, frozen=True, rename="camel"):
    """A plugin's arguments; ``name`` says which."""

    args: PluginArgs | None = None
    """``None``: all by default."""

    def __post_init__(self) -> None:
        """Refuse what says of itself that it is for another plugin.

        Raises:
            ValueError: Names the kind that it should be of.
        """
        expected = f"{self.name}Args"
        if self.args is None or ":" in self.name:
            return
        if self.args.kind not in ("", expected):
            raise ValueError(f"args.kind: {self.args.kind!r} is not {expected!r}")

    @property
    def name(self) -> str:
        """The plugin that they are for."""
        return str(self.__struct_config__.tag)


class ProfileConfiguration(Settings, frozen=True, rename="camel"):
    """A named set of plugins; pods choose it by ``spec.schedulerName``."""

    scheduler_name: Annotated[str, msgspec.Meta(min_length=1)] = "default-scheduler"
    percentage_of_nodes_to_score: Annotated[int, msgspec.Meta(ge=0, le=100)] | None = None
    """Accepted for upstream's files; all nodes are always looked at."""
    plugins: Plugins = Plugins()
    plugin_config: tuple[PluginConfig, ...] = ()
    one_pod_per_node: bool = False
    """Ours: no node gets a second pod of this profile (adds the plugin OnePodPerNode)."""


class ClientConnectionConfiguration(Settings, frozen=True, rename="camel"):
    """How upstream reaches the API server; accepted for its files, and of no effect.

    Which cluster it is, and how much is asked of it at once, is said beside (``kubernetes``,
    ``binding``).
    """

    kubeconfig: str = ""
    accept_content_types: str = ""
    content_type: str = ""
    qps: float = 50.0
    burst: int = 100


class KubeSchedulerConfiguration(Settings, frozen=True, rename="camel"):
    """The file."""

    api_version: Literal["kubescheduler.config.k8s.io/v1"]
    kind: Literal["KubeSchedulerConfiguration"]
    profiles: Annotated[tuple[ProfileConfiguration, ...], msgspec.Meta(min_length=1)]
    parallelism: Annotated[int, msgspec.Meta(ge=1)] = 16
    """Accepted for upstream's files; one thread looks at all nodes at once, in columns."""
    percentage_of_nodes_to_score: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0
    """Accepted for upstream's files; all nodes are always looked at."""
    pod_initial_backoff_seconds: Annotated[int, msgspec.Meta(ge=1)] = 1
    pod_max_backoff_seconds: Annotated[int, msgspec.Meta(ge=1)] = 10
    leader_election: LeaderElectionConfiguration = LeaderElectionConfiguration()
    client_connection: ClientConnectionConfiguration = ClientConnectionConfiguration()
    enable_profiling: bool = True
    """Accepted for upstream's files; profiles of a process in Python are taken from outside it."""
    enable_contention_profiling: bool = True
    """As ``enableProfiling``."""
    delay_cache_until_active: bool = False
    """Accepted for upstream's files; who does not lead keeps its cache, to take over at once."""


def load_configuration(path: Path, *, registry: Registry) -> KubeSchedulerConfiguration:
    """Read a ``KubeSchedulerConfiguration``, down to each plugin's own arguments.

    Plugins that it names by path (``module:Class``) are added to *registry*.

    Raises:
        SettingsError: The file cannot be read, or a key or value is wrong; names file and line.
        ConfigError: A path leads to no plugin.
    """
    names = load_settings(_Names, path=path, env={}, prefix="")
    for name in names.of_plugins():
        if ":" in name:
            registry.add_by_path(name)
    try:
        return load_settings(_configuration_type(registry), path=path, env={}, prefix="")
    except SettingsError as error:
        raise SettingsError(names.explain(str(error))) from error


def read_configuration(
    data: Mapping[str, Any], *, registry: Registry
) -> KubeSchedulerConfiguration:
    """Read a ``KubeSchedulerConfiguration`` that is at hand.

    Raises:
        ValidationError: A key or value is wrong.
    """
    return msgspec.convert(data, _configuration_type(registry), strict=False)


_ARGUMENTS: Final = re.compile(r"profiles\.(\d+)\.pluginConfig\.(\d+)")
"""Where arguments stand, in messages of ``load_settings``."""


class _Named(msgspec.Struct, frozen=True):
    """Something in a profile that says which plugin it is about."""

    name: str = ""


class _NamedProfile(msgspec.Struct, frozen=True, rename="camel"):
    """As much of a profile as names plugins."""

    plugins: dict[str, dict[str, tuple[_Named, ...]]] = {}
    plugin_config: tuple[_Named, ...] = ()


class _Names(msgspec.Struct, frozen=True):
    """As much of the file as names plugins: they say what the rest of it may hold."""

    profiles: tuple[_NamedProfile, ...] = ()

    def of_plugins(self) -> Iterator[str]:
        """Go through all names."""
        for profile in self.profiles:
            for point in profile.plugins.values():
                for named in point.get("enabled", ()):
                    yield named.name
            for named in profile.plugin_config:
                yield named.name

    def explain(self, message: str) -> str:
        """Add the plugin's name to what is said of some plugin's arguments."""
        where = _ARGUMENTS.search(message)
        if where is None:
            return message
        profile, config = int(where[1]), int(where[2])
        return f"{message} (arguments of {self.profiles[profile].plugin_config[config].name})"


def _configuration_type(registry: Registry) -> type[KubeSchedulerConfiguration]:
    """Narrow the configuration so that each plugin's arguments are checked against its own type.

    One decoding of the whole file can then name the line of whatever is wrong.
    """
    configs = [
        _narrowed(PluginConfig, {"args": (plugin.args_type | None, None)}, tag=name)
        for name, plugin in registry.items()
    ]
    profile = _narrowed(
        ProfileConfiguration, {"plugin_config": (_tuple_of(reduce(or_, configs)), ())}
    )
    profiles: Any = Annotated[_tuple_of(profile), msgspec.Meta(min_length=1)]
    narrowed: type[KubeSchedulerConfiguration] = _narrowed(
        KubeSchedulerConfiguration, {"profiles": (profiles, msgspec.NODEFAULT)}
    )
    return narrowed


def _tuple_of(kind: Any) -> Any:
    return GenericAlias(tuple, (kind, ...))


def _narrowed(base: type[Any], fields: Mapping[str, tuple[Any, Any]], *, tag: str = "") -> Any:
    """Derive a struct in which some fields have another type."""
    return msgspec.defstruct(
        base.__name__,
        [(name, kind, default) for name, (kind, default) in fields.items()],
        bases=(base,),
        frozen=True,
        kw_only=True,
        rename="camel",
        forbid_unknown_fields=True,
        tag_field="name" if tag else None,
        tag=tag or None,
    )
