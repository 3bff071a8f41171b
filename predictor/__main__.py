"""``python -m predictor``: reads settings, serves until told to stop."""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from kube.edge.logs import configure_logs
from kube.edge.settings import SettingsError, default_path, load_settings
from predictor.program import Program
from predictor.settings import PredictorSettings

_SWITCH_INTERVAL_S = 0.001
"""How long a busy thread keeps the others waiting. A fifth of Python's default: rows and models are
prepared in the background, and a prediction must not wait its turn several times over."""


def main(argv: Sequence[str], *, env: Mapping[str, str]) -> int:
    """Serve until SIGTERM or SIGINT.

    Returns:
        0 after a normal end, 2 if the settings are unusable, 1 if the address or the data
        directory is.
    """
    parser = argparse.ArgumentParser(prog="python -m predictor", description=__doc__)
    parser.add_argument("--config", type=Path, help="settings (default: config/predictor.yaml)")
    arguments = parser.parse_args(argv)
    try:
        settings = load_settings(
            PredictorSettings,
            path=arguments.config or default_path("predictor"),
            env=env,
            prefix="PREDICTOR",
        )
    except SettingsError as error:
        sys.stderr.write(f"predictor: {error}\n")
        return 2
    configure_logs(settings.log_level)
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        with Program(settings):
            stop.wait()
    except (OSError, SQLAlchemyError) as error:
        sys.stderr.write(f"predictor: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], env=os.environ))
