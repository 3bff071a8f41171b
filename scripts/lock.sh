#!/usr/bin/env bash
# Writes the lock files anew from pyproject.toml: versions and hashes, no addresses. Needs uv.
set -euo pipefail
cd "$(dirname "$0")/.."
lock() { # lock FILE EXTRA…
  local file=$1; shift
  local extras=(); for extra in "$@"; do extras+=(--extra "$extra"); done
  uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-emit-index-url --no-emit-find-links \
    --custom-compile-command scripts/lock.sh "${extras[@]}" pyproject.toml --output-file "$file"
}
lock requirements-collector.lock collector
lock requirements-predictor.lock predictor
lock requirements-scheduler.lock scheduler simulator
lock requirements-dev.lock dev
