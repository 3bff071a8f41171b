"""Which plugins there are, by name."""

from collections.abc import Iterable, Iterator

from scheduler.errors import ConfigError
from scheduler.framework.interface import Plugin


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
        for plugin_type, weight in plugins:
            if plugin_type.name in self._plugins:
                raise ConfigError(f"two plugins are called {plugin_type.name}")
            self._plugins[plugin_type.name] = plugin_type
            if weight is not None:
                self.default_weights[plugin_type.name] = weight

    def __iter__(self) -> Iterator[type[Plugin]]:
        return iter(self._plugins.values())

    def __getitem__(self, name: str) -> type[Plugin]:
        """Return the plugin called *name*.

        Raises:
            ConfigError: There is none.
        """
        try:
            return self._plugins[name]
        except KeyError:
            known = ", ".join(self._plugins)
            raise ConfigError(f"there is no plugin {name!r}; known are {known}") from None
