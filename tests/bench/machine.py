"""What every figure is printed with: the machine, the commit, the interpreter."""

import os
import platform
import subprocess
from pathlib import Path


def describe() -> str:
    """One line: processor, cores, Python, commit (``+`` when there are uncommitted changes)."""
    cpu = "unknown processor"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].split(":", 1)[1].strip() if names else cpu
    git = ["git", "describe", "--always", "--dirty=+"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    cores = len(os.sched_getaffinity(0))
    return f"{cpu}, {cores} cores, Python {platform.python_version()}, commit {commit or '?'}"
