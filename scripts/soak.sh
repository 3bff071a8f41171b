#!/usr/bin/env bash
# Runs two schedulers on a simulated cluster that misbehaves, kills them at random, and checks from outside
# that every promise is kept: scripts/soak.sh [--minutes N] [--seed N]. Exits 1 with the evidence if one is broken.
set -euo pipefail
cd "$(dirname "$0")/.."
./scripts/setup.sh
exec .venv/bin/python -m tests.soak "$@"
