#!/usr/bin/env bash
# Formats the code and mends what the linter can mend by itself.
set -euo pipefail
cd "$(dirname "$0")/.."
./scripts/setup.sh
.venv/bin/ruff check --fix .
.venv/bin/ruff format .
