"""Running a program: its settings, its logs, the signals that end it, its exit code."""

import argparse
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

from kube.edge.logs import configure_logs
from kube.edge.settings import ProgramSettings, SettingsError, load_settings
from kube.errors import ConfigError

STOPPED: Final = 0
FAILED: Final = 1
MISCONFIGURED: Final = 2

P = TypeVar("P", bound=ProgramSettings)


class StartError(Exception):
    """The program cannot start now, through no fault of its settings. Exit code 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start(Generic[P]):
    """What a program starts with."""

    settings: P
    path: Path | None
    """The file they are from."""
    env: Mapping[str, str]
    stop: threading.Event
    """Set when the program is to end."""


def run(
    name: str,
    *,
    arguments: Sequence[str],
    env: Mapping[str, str],
    settings_type: type[P],
    serve: Callable[[Start[P]], int],
) -> int:
    """Run a program until SIGTERM or SIGINT.

    Args:
        name: ``config/<name>.yaml`` is read if no other file is named, and ``<NAME>__*`` variables.
        arguments: The command line without the program.
        env: Usually ``os.environ``.
        settings_type: All of its settings.
        serve: The program itself; gives its exit code.

    Returns:
        The exit code: 0 after a normal end, 2 if the settings or the kubeconfig are unusable, 1 if
        the address, the disk or the database is, or whatever *serve* says.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {name}")
    parser.add_argument("--config", type=Path, help=f"settings (default: config/{name}.yaml)")
    path = parser.parse_args(arguments).config or _default_path(name)
    stop = threading.Event()
    before = {n: signal.signal(n, lambda *_: stop.set()) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        settings = load_settings(settings_type, path=path, env=env, prefix=name.upper())
        configure_logs(settings.log_level)
        return serve(Start(settings=settings, path=path, env=env, stop=stop))
    except (SettingsError, ConfigError) as error:
        sys.stderr.write(f"{name}: {error}\n")
        return MISCONFIGURED
    except (StartError, OSError) as error:
        sys.stderr.write(f"{name}: {error}\n")
        return FAILED
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _default_path(name: str) -> Path | None:
    path = Path("config") / f"{name}.yaml"
    return path if path.exists() else None
