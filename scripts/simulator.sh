#!/usr/bin/env bash
# Starts a simulation: a scenario's cluster, lived by its users, with our scheduler on it; until Ctrl-C.
#   scripts/simulator.sh [SCENARIO] [option …]     options of `python -m scheduler.simulator serve`: --speed, --seed, --port …
#   SCHEDULER=no    leaves the pods to a scheduler that you start: the kubeconfig is printed
set -euo pipefail
cd "$(dirname "$0")/.."
./scripts/setup.sh
scenario=config/scenarios/mixed-week.yaml
case ${1:-} in "" | --*) ;; *) scenario=$1; shift ;; esac
folder=$(mktemp -d)
pids=()
end() {
  trap - EXIT
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait
  rm -rf "$folder"
}
trap end EXIT
trap 'exit 0' INT TERM
.venv/bin/python -m scheduler.simulator serve --scenario "$scenario" --speed 60 --write-kubeconfig "$folder/kubeconfig" "$@" &
pids+=($!)
until [ -s "$folder/kubeconfig" ]; do
  kill -0 "${pids[0]}" 2>/dev/null || { wait "${pids[0]}"; exit; }
  sleep 0.1
done
if [ "${SCHEDULER:-yes}" = yes ]; then
  KUBECONFIG=$folder/kubeconfig .venv/bin/python -m scheduler 2>"$folder/scheduler.log" &
  pids+=($!)
  echo "its scheduler: why pods went where they went on http://127.0.0.1:8081/api/v1/decisions, log in $folder/scheduler.log"
fi
echo "kubectl --kubeconfig $folder/kubeconfig get pods -o wide; metrics on /metrics of either; Ctrl-C ends it"
wait -n
