#!/usr/bin/env bash
# Writes the lock files anew from pyproject.toml: versions and hashes, no addresses. Needs uv.
set -euo pipefail
cd "$(dirname "$0")/.."
lock() { # lock FILE EXTRA… [--OPTION VALUE]
  local file=$1; shift
  local options=()
  while [ $# -gt 0 ]; do
    case $1 in
      --*) options+=("$1" "$2"); shift 2 ;;
      *) options+=(--extra "$1"); shift ;;
    esac
  done
  uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-emit-index-url --no-emit-find-links \
    --custom-compile-command scripts/lock.sh "${options[@]}" pyproject.toml --output-file "$file"
}
lock requirements-collector.lock collector
lock requirements-predictor.lock predictor
lock requirements-scheduler.lock scheduler simulator learned
lock requirements-dev.lock dev
# For training, on top of dev: without PyTorch and what that brings along. Which of its builds is right, for the processor
# alone or for an accelerator, depends on the machine, and each has hashes of its own; scripts/setup.sh installs it by version.
without_torch=$(mktemp)
trap 'rm -f "$without_torch"' EXIT
echo 'torch; python_version < "3"' >"$without_torch"
lock requirements-rl.lock rl --constraint requirements-dev.lock --override "$without_torch"
