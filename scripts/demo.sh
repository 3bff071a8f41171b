#!/usr/bin/env bash
# The whole stack on a simulated cluster, from a clone: starts it, shows pods placed, outcomes fed back, a model learning.
#   --keep    leave it running until Ctrl-C
set -euo pipefail
cd "$(dirname "$0")/.."
./scripts/setup.sh
exec .venv/bin/python scripts/demo.py "$@"
