#!/usr/bin/env bash
# Builds the scheduler's image, loads it into minikube, applies config/k8s, and waits until the scheduler is ready:
#   scripts/deploy.sh [namespace] [image] [minikube profile]     default: kube-system ai-scheduler/scheduler:latest minikube
# From the environment:
#   PREDICTOR=yes   the collector and the predictor, too
#   BUILD=no        a cluster without minikube, kubectl's current one: it pulls the image, which is pushed already
#   TIMEOUT=180s    how long to wait
set -euo pipefail
cd "$(dirname "$0")/.."
namespace=${1:-kube-system} image=${2:-ai-scheduler/scheduler:latest} profile=${3:-minikube}

die() { echo "deploy: $*" >&2; exit 1; }
need() { command -v "$1" >/dev/null 2>&1 || die "$1 is not on PATH: $2"; }

services=(scheduler) files=(rbac deployment)
if [ "${PREDICTOR:-no}" = yes ]; then services+=(collector predictor) files+=(predictor); fi
image_of() { if [ "$1" = scheduler ]; then echo "$image"; else echo "ai-scheduler/$1:latest"; fi; }

need kubectl "see https://kubernetes.io/docs/tasks/tools/"
kubectl=(kubectl)
if [ "${BUILD:-yes}" != no ]; then
  hint="or name an image that the cluster pulls, with BUILD=no"
  need docker "it builds the image; $hint"
  need minikube "the image is loaded into it; $hint"
  docker info >/dev/null 2>&1 || die "docker does not answer: is its daemon running?"
  minikube --profile "$profile" status >/dev/null 2>&1 || die "minikube does not run: minikube start --profile $profile"
  kubectl+=(--context "$profile")
  for service in "${services[@]}"; do
    docker build --build-arg "SERVICE=$service" --tag "$(image_of "$service")" .
    minikube --profile "$profile" image load "$(image_of "$service")"
  done
fi
"${kubectl[@]}" get --raw /version >/dev/null 2>&1 || die "the cluster does not answer: see ${kubectl[*]} version"

"${kubectl[@]}" get namespace "$namespace" >/dev/null 2>&1 || "${kubectl[@]}" create namespace "$namespace"
# A tag that was built anew changes nothing in the Deployment, so pods that run already are replaced.
running=$("${kubectl[@]}" --namespace "$namespace" get deployments --selector 'app in (ai-scheduler, ai-collector, ai-predictor)' --output name)
for file in "${files[@]}"; do
  sed -e "s|\([nN]amespace:\) kube-system|\1 $namespace|" -e "s|image: ai-scheduler/scheduler:latest|image: $image|" "config/k8s/$file.yaml" |
    "${kubectl[@]}" apply --filename -
done
for service in "${services[@]}"; do
  deployment="deployment.apps/ai-$service"
  if grep --quiet --line-regexp "$deployment" <<<"$running"; then
    "${kubectl[@]}" --namespace "$namespace" rollout restart "$deployment"
  fi
  "${kubectl[@]}" --namespace "$namespace" rollout status "$deployment" --timeout "${TIMEOUT:-180s}" ||
    die "not ready: see ${kubectl[*]} --namespace $namespace describe pods --selector app=ai-$service"
done
echo "deploy: ready; pods with schedulerName: ai-scheduler are scheduled by it (see config/examples)"
