#!/usr/bin/env bash
# The default test suite; arguments go to pytest (scripts/test.sh tests/unit -k queue).
set -euo pipefail
cd "$(dirname "$0")/.."
./scripts/setup.sh
# One more than cores, of which two are reckoned with: many tests wait for what other programs do.
exec .venv/bin/python -m pytest -m "not e2e and not bench and not system and not traces" -n "${TEST_WORKERS:-3}" --dist loadfile "$@"
