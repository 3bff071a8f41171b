"""``python -m predictor``: reads settings, serves until told to stop."""

import gc
import os
import sys
from collections.abc import Mapping, Sequence

from kube.edge.program import STOPPED, Start, run
from predictor.program import Program
from predictor.settings import PredictorSettings

_SWITCH_INTERVAL_S = 0.001
"""How long a busy thread keeps the others waiting. A fifth of Python's default: rows and models are
prepared in the background, and a prediction must not wait its turn several times over."""


def main(arguments: Sequence[str], *, env: Mapping[str, str]) -> int:
    """Serve until told to stop; give the exit code of ``kube.edge.program.run``."""
    return run(
        "predictor", arguments=arguments, env=env, settings_type=PredictorSettings, serve=_serve
    )


def _serve(start: Start[PredictorSettings]) -> int:
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    program = Program(start.settings)
    # What was imported stays: to walk it over and over held up predictions for 0.1 s a time.
    gc.collect()
    gc.freeze()
    with program:
        start.stop.wait()
    return STOPPED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], env=os.environ))
