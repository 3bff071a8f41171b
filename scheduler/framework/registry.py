"""Which plugins there are, by name: built-in ones, and those of others."""

from collections.abc import Iterable, Iterator
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from scheduler.errors import ConfigError
from scheduler.framework.interface import Plugin

ENTRY_POINTS: Final = "ai_scheduler.plugins"
"""The group under which installed packages offer plugins."""


class Registry:
    """Plugin classes by name, in the order in which they run by default.

    Args:
        plugins: The classes with the weight that each has by default; ``None`` for those that
            run only where a profile enables them.

    Raises:
        ConfigError: Two plugins share a name.
    """

    def __init__(self, plugins: Iterable[tuple[type[Plugin], int | None]]) -> None:
        self._plugins: dict[str, type[Plugin]] = {}
        self.default_weights: dict[str, int] = {}
        """The plugins that run by default, in order."""
        self._names: dict[str, str] = {}
        for plugin_type, weight in plugins:
            if plugin_type.name in self._plugins:
                raise ConfigError(f"two plugins are called {plugin_type.name}")
            self._add(plugin_type)
            if weight is not None:
                self.default_weights[plugin_type.name] = weight

    def add_installed(self) -> None:
        """Add what installed packages offer by entry point; a profile must enable it.

        Raises:
            ConfigError: An entry point leads to no plugin, or to one whose name is taken.
        """
        for entry in sorted(entry_points(group=ENTRY_POINTS)):
            self._add(_load(entry.value, named=f"entry point {entry.name!r}"))

    def add_by_path(self, path: str) -> None:
        """Add the plugin that ``module:Class`` leads to; known by its own name and by the path.

        Raises:
            ConfigError: It leads to no plugin, or to one whose name is taken.
        """
        if path not in self._names:
            self._names[path] = self._add(_load(path, named=f"plugin {path!r}")).name

    def name_of(self, name: str) -> str:
        """Return a plugin's own name, where *name* may be its path."""
        return self._names.get(name, name)

    def _add(self, plugin_type: type[Plugin]) -> type[Plugin]:
        known = self._plugins.setdefault(plugin_type.name, plugin_type)
        if known is not plugin_type:
            raise ConfigError(f"two plugins are called {plugin_type.name}")
        return plugin_type

    def __iter__(self) -> Iterator[type[Plugin]]:
        return iter(self._plugins.values())

    def items(self) -> Iterator[tuple[str, type[Plugin]]]:
        """Go through the plugins by every name that they are known by."""
        yield from self._plugins.items()
        for path, name in self._names.items():
            yield path, self._plugins[name]

    def __getitem__(self, name: str) -> type[Plugin]:
        """Return the plugin called *name*.

        Raises:
            ConfigError: There is none.
        """
        try:
            return self._plugins[self.name_of(name)]
        except KeyError:
            known = ", ".join(self._plugins)
            raise ConfigError(f"there is no plugin {name!r}; known are {known}") from None


def _load(path: str, *, named: str) -> type[Plugin]:
    entry = EntryPoint(name=path, value=path, group=ENTRY_POINTS)
    try:
        module, attribute = entry.module, entry.attr
        found = getattr(import_module(module), attribute, None)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{named} cannot be loaded: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Plugin) and hasattr(found, "name")):
        raise ConfigError(f"{named}: {attribute!r} in {module} is no plugin")
    return found
