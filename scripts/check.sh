#!/usr/bin/env bash
# Format, lint, types, who may import whom, spelling: what a change must pass before it is read.
set -euo pipefail
cd "$(dirname "$0")/.."
./scripts/setup.sh
bin=.venv/bin
"$bin"/ruff format --check .
"$bin"/ruff check .
"$bin"/mypy
"$bin"/lint-imports
"$bin"/codespell $(git ls-files)
echo "check: all good"
