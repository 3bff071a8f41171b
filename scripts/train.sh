#!/usr/bin/env bash
# Trains a policy that chooses nodes, exports it, and compares it with kube-scheduler's defaults in worlds that it has not seen.
#   scripts/train.sh [SCENARIO] [option …]     options of `python -m scheduler.simulator train`: --steps, --seed, --out, --resume …
# What it learnt rates pods on a cluster by config/profiles/learned.yaml, and in experiments by `evaluate --policies DIR/policy.onnx,…`.
set -euo pipefail
cd "$(dirname "$0")/.."
./scripts/setup.sh rl
scenario=config/scenarios/large-jobs.yaml
case ${1:-} in "" | --*) ;; *) scenario=$1; shift ;; esac
exec .venv/bin/python -m scheduler.simulator train --scenario "$scenario" --steps 500000 --out "trained/$(basename "$scenario" .yaml)" "$@"
