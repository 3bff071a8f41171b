"""Whose fault it is: one pod that a plugin stumbles over must not stop the scheduling of all."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from scheduler.errors import PluginError
from scheduler.framework.interface import Plugin


@contextmanager
def blaming_plugins() -> Iterator[None]:
    """Turn whatever a plugin raises into an error that names it; what is no plugin's stays.

    Raises:
        PluginError: A plugin raised something else.
    """
    try:
        yield
    except PluginError:
        raise
    except Exception as error:
        name = _plugin_at_fault(error)
        if name is None:
            raise
        raise PluginError(f"{name} failed: {error!r}") from error


def _plugin_at_fault(error: Exception) -> str | None:
    """Name the plugin in whose code an error arose, or that called what raised it."""
    name: str | None = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        caller = frame.f_locals.get("self")
        if isinstance(caller, Plugin):
            name = caller.name
    return name
