#!/usr/bin/env bash
# Prints speed figures of this machine and commit: scripts/bench.sh [apiserver|predictor|collector|scheduler|env|e2e [option …]].
# Without arguments all of them; `scripts/bench.sh scheduler --help` tells a benchmark's options.
set -euo pipefail
cd "$(dirname "$0")/.."
./scripts/setup.sh
if [ $# -eq 0 ]; then
  for name in apiserver predictor collector scheduler env e2e; do "$0" "$name"; done
  exit
fi
name=$1
shift
[ -f "tests/bench/$name.py" ] || { echo "bench: no such benchmark: $name" >&2; exit 2; }
echo "== $name"
exec .venv/bin/python -m "tests.bench.$name" "$@"
