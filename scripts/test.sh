#!/usr/bin/env bash
# The default test suite; arguments go to pytest (scripts/test.sh tests/unit -k queue).
set -euo pipefail
cd "$(dirname "$0")/.."
./scripts/setup.sh
exec .venv/bin/python -m pytest -m "not e2e and not bench and not system and not traces" -n "${TEST_WORKERS:-2}" --dist loadfile "$@"
