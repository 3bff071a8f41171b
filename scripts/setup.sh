#!/usr/bin/env bash
# Makes .venv from the lock files: all that running, testing and checking the project needs.
#   rl    and what training by reinforcement learning needs: PyTorch, Stable-Baselines3, TensorBoard (a gigabyte)
set -euo pipefail
cd "$(dirname "$0")/.."
pip=(.venv/bin/python -m pip install --disable-pip-version-check)
tell() { sed -u -n 's/^\(Collecting [^ ]*\).*/setup: \1/p; s/^Installing.*/setup: installing/p'; }
is_installed() { cmp -s "$1" ".venv/installed-${1#requirements-}"; }
note_installed() { cp "$1" ".venv/installed-${1#requirements-}"; }

if ! is_installed requirements-dev.lock; then
  python=${PYTHON:-python3.11}
  command -v "$python" >/dev/null 2>&1 || python=python3
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
    echo "setup: Python 3.11 or newer is needed (set PYTHON to its path)" >&2
    exit 1
  }
  echo "setup: installing the locked packages into .venv (a minute or two the first time)"
  [ -x .venv/bin/python ] || "$python" -m venv .venv
  "${pip[@]}" --require-hashes -r requirements-dev.lock | tell
  note_installed requirements-dev.lock
  echo "setup: done"
fi
if [ "${1:-}" = rl ] && ! is_installed requirements-rl.lock; then
  echo "setup: installing what training needs"
  # By version alone: each of its builds, for the processor or for an accelerator, has hashes of its own.
  "${pip[@]}" "torch==2.13.0" | tell
  "${pip[@]}" --no-deps --require-hashes -r requirements-rl.lock | tell
  note_installed requirements-rl.lock
  echo "setup: done"
fi
