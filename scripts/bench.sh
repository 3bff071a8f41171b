#!/usr/bin/env bash
# Prints speed figures of this machine and commit: scripts/bench.sh [apiserver|predict|schedule …]; all of them without arguments.
set -euo pipefail
cd "$(dirname "$0")/.."
./scripts/setup.sh
for bench in "${@:-apiserver predict schedule}"; do
  for name in $bench; do
    [ -f "tests/bench/$name.py" ] || { echo "bench: no such benchmark: $name" >&2; exit 2; }
    echo "== $name"
    PYTHONPATH=. .venv/bin/python "tests/bench/$name.py"
  done
done
