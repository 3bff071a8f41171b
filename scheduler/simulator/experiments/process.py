"""A scheduler as a process of its own: started, watched, and ended."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

_N_LAST_LINES: Final = 15
_N_LAST_BYTES: Final = 8_192


class ExternalSchedulerError(Exception):
    """A program that was to schedule did not; the message tells its last lines. Exit code 1."""


class SchedulerProcess:
    """A running program, in a session of its own: Ctrl-C does not reach it, we end it.

    Args:
        name: What to call it.
        command: The program and its arguments.
        variables: Added to our environment.
        log: Where its output goes; replaced.

    Raises:
        ExternalSchedulerError: It cannot be started.
    """

    def __init__(
        self, name: str, *, command: Sequence[str], variables: Mapping[str, str], log: Path
    ) -> None:
        self._name = name
        self._log = log
        try:
            with log.open("wb") as output:
                # The command is the user's own, and no shell reads it.
                self._process = subprocess.Popen(  # noqa: S603
                    command,
                    env={**os.environ, **variables},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as error:
            raise ExternalSchedulerError(
                f"{name}: cannot start {command[0]}: {error.strerror}"
            ) from error

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def check(self) -> None:
        """Make sure that it runs.

        Raises:
            ExternalSchedulerError: It has ended.
        """
        code = self._process.poll()
        if code is not None:
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            raise self.error(f"ended by itself, {how}")

    def error(self, what: str) -> ExternalSchedulerError:
        """Make an error that tells the program's last lines, too."""
        lines = self._last_lines()
        said = "".join(f"\n  {line}" for line in lines) or " nothing"
        return ExternalSchedulerError(f"{self._name}: {what}; it said last:{said}")

    def ask_to_end(self) -> None:
        """Send SIGTERM."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to it and all that it started, and wait for its end."""
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        # Its children, too, which outlive a wrapper; the group may be gone already.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _last_lines(self) -> list[str]:
        with self._log.open("rb") as written:
            written.seek(max(0, self._log.stat().st_size - _N_LAST_BYTES))
            text = written.read().decode(errors="replace")
        return text.splitlines()[-_N_LAST_LINES:]
