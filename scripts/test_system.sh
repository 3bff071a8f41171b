#!/usr/bin/env bash
# Checks a running stack by its URLs (COLLECTOR_URL, PREDICTOR_URL, SCHEDULER_URL; default: the published ports on loopback).
# With CLUSTER_URL (and CLUSTER_TOKEN) it also creates a pod and sees it bound; of a compose stack it finds the token by itself.
set -euo pipefail
cd "$(dirname "$0")/.."
./scripts/setup.sh
if [ -z "${CLUSTER_TOKEN:-}" ] && command -v docker-compose >/dev/null 2>&1; then
  CLUSTER_TOKEN=$(docker-compose exec -T cluster cat /cluster/token 2>/dev/null || true)
  export CLUSTER_TOKEN
fi
exec .venv/bin/python -m pytest -m system tests/e2e/test_running_stack.py "$@"
