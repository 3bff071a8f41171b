"""Refuse what must not enter the repository: keys, large files, sloppy endings, broken YAML.

Usage: ``scripts/hygiene.py FILE…``; prints what is wrong and exits 1.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

MAX_BYTES = 1_000_000
PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")


def faults(path: Path) -> Iterator[str]:
    """Say what is wrong with one file."""
    content = path.read_bytes()
    if len(content) > MAX_BYTES:
        yield f"has {len(content)} bytes; at most {MAX_BYTES} may be committed"
    if PRIVATE_KEY.search(content):
        yield "holds a private key"
    if path.is_relative_to("tests/data") or b"\0" in content:
        return
    if content and not content.endswith(b"\n"):
        yield "does not end with a newline"
    if re.search(rb"[ \t]+\r?\n", content):
        yield "has trailing white space"
    if path.suffix in {".yml", ".yaml"}:
        try:
            list(yaml.compose_all(content.decode(), Loader=yaml.SafeLoader))
        except yaml.YAMLError as error:
            yield f"is not YAML: {error}"


def main(names: list[str]) -> int:
    """Check every named file."""
    found = [f"{name}: {fault}" for name in names for fault in faults(Path(name))]
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
