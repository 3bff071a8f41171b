#!/usr/bin/env bash
# Format, lint, types, who may import whom, spelling, hygiene: what a change must pass before it is read.
set -euo pipefail
cd "$(dirname "$0")/.."
./scripts/setup.sh
bin=.venv/bin
"$bin"/ruff format --check .
"$bin"/ruff check .
"$bin"/mypy
"$bin"/lint-imports
git ls-files -z | xargs -0 "$bin"/codespell
git ls-files -z | xargs -0 "$bin"/python scripts/hygiene.py
echo "check: all good"
