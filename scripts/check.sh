#!/usr/bin/env bash
# Format, lint, types, who may import whom, spelling, hygiene: what a change must pass before it is read.
set -euo pipefail
cd "$(dirname "$0")/.."
./scripts/setup.sh
bin=.venv/bin
mapfile -t files < <(git ls-files)
"$bin"/ruff format --check .
"$bin"/ruff check .
"$bin"/mypy
"$bin"/lint-imports
"$bin"/codespell "${files[@]}"
"$bin"/python scripts/hygiene.py "${files[@]}"
echo "check: all good"
