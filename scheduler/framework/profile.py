"""A profile: which plugins run at which extension point, in which order, with which weight.

Upstream's precedence: a plugin named at a point outdoes one named under ``multiPoint``, which
outdoes the default; what is disabled there is left out, ``*`` leaves out all. PreScore alone goes
with Score: a plugin may find out there what it rates nodes by.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from scheduler.errors import ConfigError
from scheduler.framework.configuration import (
    KubeSchedulerConfiguration,
    Plugins,
    PluginSet,
    ProfileConfiguration,
)
from scheduler.framework.interface import (
    BindPlugin,
    FilterPlugin,
    PermitPlugin,
    Plugin,
    PostBindPlugin,
    PostFilterPlugin,
    PreBindPlugin,
    PreEnqueuePlugin,
    PreFilterPlugin,
    PreScorePlugin,
    QueueSortPlugin,
    ReservePlugin,
    ScorePlugin,
)
from scheduler.framework.meter import UNMETERED, Meter
from scheduler.framework.registry import Registry

ONE_POD_PER_NODE: Final = "OnePodPerNode"
"""The plugin behind the option of that name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Plugins by extension point, in the order in which they run."""

    scheduler_name: str
    queue_sort: QueueSortPlugin
    pre_enqueue: tuple[PreEnqueuePlugin, ...] = ()
    pre_filter: tuple[PreFilterPlugin, ...] = ()
    filter: tuple[FilterPlugin, ...] = ()
    post_filter: tuple[PostFilterPlugin, ...] = ()
    pre_score: tuple[PreScorePlugin, ...] = ()
    score: tuple[ScorePlugin, ...] = ()
    reserve: tuple[ReservePlugin, ...] = ()
    permit: tuple[PermitPlugin, ...] = ()
    pre_bind: tuple[PreBindPlugin, ...] = ()
    bind: tuple[BindPlugin, ...] = ()
    post_bind: tuple[PostBindPlugin, ...] = ()
    weights: Mapping[str, int] = field(default_factory=dict)
    """Of every plugin in ``score``, by name."""
    meter: Meter = UNMETERED
    """Is told what cycles cost."""
    sampled: "Profile | None" = None
    """The same, every call of whose plugins the meter is told of; see ``metering``."""

    def for_cycle(self) -> "Profile":
        """Return what a cycle that begins now runs."""
        return self.sampled if self.sampled is not None and self.meter.samples() else self

    def for_rest_of_cycle(self) -> "Profile":
        """Return what the cycle that is under way runs."""
        return self.sampled if self.sampled is not None and self.meter.is_sampling else self

    def plugins(self) -> dict[str, Plugin]:
        """Return all plugins by name."""
        points: tuple[tuple[Plugin, ...], ...] = (
            (self.queue_sort,),
            self.pre_enqueue,
            self.pre_filter,
            self.filter,
            self.post_filter,
            self.pre_score,
            self.score,
            self.reserve,
            self.permit,
            self.pre_bind,
            self.bind,
            self.post_bind,
        )
        return {plugin.name: plugin for point in points for plugin in point}


def make_profiles(
    configuration: KubeSchedulerConfiguration, *, registry: Registry
) -> dict[str, Profile]:
    """Build every profile.

    Returns:
        Profiles by scheduler name.

    Raises:
        ConfigError: A profile names what does not exist, twice, or lacks a queue order.
    """
    profiles: dict[str, Profile] = {}
    for each in configuration.profiles:
        if each.scheduler_name in profiles:
            raise ConfigError(f"two profiles are called {each.scheduler_name!r}")
        try:
            profiles[each.scheduler_name] = _make_profile(each, registry)
        except ConfigError as error:
            raise ConfigError(f"profile {each.scheduler_name!r}: {error}") from error
    if len({profile.queue_sort.name for profile in profiles.values()}) > 1:
        raise ConfigError("all profiles must have the same queueSort plugin: there is one queue")
    return profiles


def _make_profile(configuration: ProfileConfiguration, registry: Registry) -> Profile:
    arguments = {registry.name_of(c.name): c.args for c in configuration.plugin_config}
    if len(arguments) < len(configuration.plugin_config):
        raise ConfigError("pluginConfig holds one plugin twice")
    _check_names(configuration.plugins, registry)
    option = {ONE_POD_PER_NODE: 0} if configuration.one_pod_per_node else {}
    defaults = {**registry.default_weights, **option}
    multi_point = _merge(defaults, configuration.plugins.multi_point, registry)
    made: dict[str, Plugin] = {}

    def instance(name: str) -> Plugin:
        if name not in made:
            plugin_type = registry[name]
            made[name] = plugin_type(arguments.get(name) or plugin_type.args_type())
        return made[name]

    def at(point: type[Any], changes: PluginSet) -> tuple[Any, dict[str, int]]:
        inherited = {n: w for n, w in multi_point.items() if issubclass(registry[n], point)}
        weights = _merge(inherited, changes, registry)
        for name in weights:
            if not issubclass(registry[name], point):
                raise ConfigError(f"{name} is no {point.__name__}")
        return tuple(instance(name) for name in weights), weights

    changes = configuration.plugins
    queue_sorts, _ = at(QueueSortPlugin, changes.queue_sort)
    if len(queue_sorts) != 1:
        raise ConfigError(f"a profile needs one queueSort plugin, not {len(queue_sorts)}")
    score, weights = at(ScorePlugin, changes.score)
    pre_score, _ = at(PreScorePlugin, changes.pre_score)
    return Profile(
        scheduler_name=configuration.scheduler_name,
        queue_sort=queue_sorts[0],
        pre_enqueue=at(PreEnqueuePlugin, changes.pre_enqueue)[0],
        pre_filter=at(PreFilterPlugin, changes.pre_filter)[0],
        filter=at(FilterPlugin, changes.filter)[0],
        post_filter=at(PostFilterPlugin, changes.post_filter)[0],
        # Upstream's files name Score alone where upstream's plugin has no PreScore, and ours has.
        pre_score=tuple(
            dict.fromkeys((*pre_score, *(p for p in score if isinstance(p, PreScorePlugin))))
        ),
        score=score,
        reserve=at(ReservePlugin, changes.reserve)[0],
        permit=at(PermitPlugin, changes.permit)[0],
        pre_bind=at(PreBindPlugin, changes.pre_bind)[0],
        bind=at(BindPlugin, changes.bind)[0],
        post_bind=at(PostBindPlugin, changes.post_bind)[0],
        weights={name: weight or 1 for name, weight in weights.items()},
    )


def _merge(inherited: Mapping[str, int], changes: PluginSet, registry: Registry) -> dict[str, int]:
    """Apply one set of changes; a plugin enabled anew keeps its place unless it was disabled."""
    disabled = {registry.name_of(each.name) for each in changes.disabled}
    kept = {} if "*" in disabled else {n: w for n, w in inherited.items() if n not in disabled}
    for each in changes.enabled:
        name = registry.name_of(each.name)
        kept[name] = each.weight or inherited.get(name, 0)
    return kept


def _check_names(plugins: Plugins, registry: Registry) -> None:
    sets: Iterable[PluginSet] = (
        plugins.multi_point,
        plugins.queue_sort,
        plugins.pre_enqueue,
        plugins.pre_filter,
        plugins.filter,
        plugins.post_filter,
        plugins.pre_score,
        plugins.score,
        plugins.reserve,
        plugins.permit,
        plugins.pre_bind,
        plugins.bind,
        plugins.post_bind,
    )
    for changes in sets:
        enabled = [registry.name_of(each.name) for each in changes.enabled]
        if len(set(enabled)) < len(enabled):
            raise ConfigError(f"a plugin is enabled twice at one point: {', '.join(enabled)}")
        for name in [*enabled, *(each.name for each in changes.disabled if each.name != "*")]:
            registry[name]  # raises ConfigError for an unknown name
