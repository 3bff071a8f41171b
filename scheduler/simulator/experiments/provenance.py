"""What a report's numbers were made with: the code, and the machine."""

import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).resolve().parents[3]
_PATIENCE_S: Final = 10.0


def commit(project: Path = PROJECT) -> str | None:
    """Name the commit of a checkout, with ``-dirty`` if files differ from it.

    Returns:
        ``None`` if *project* is no git checkout, or git is missing or fails.
    """
    git = shutil.which("git")
    if git is None or not (project / ".git").exists():
        return None
    command = [git, "-C", str(project), "describe", "--always", "--dirty", "--exclude", "*"]
    try:
        # Nothing in the command comes from outside.
        answer = subprocess.run(  # noqa: S603
            command, capture_output=True, check=True, text=True, timeout=_PATIENCE_S
        )
    except (subprocess.SubprocessError, OSError):
        return None
    return answer.stdout.strip()


def machine() -> str:
    """Describe this machine in one line."""
    return (
        f"{os.cpu_count()} processors, {platform.machine()}, {platform.system()}, "
        f"Python {platform.python_version()}"
    )
