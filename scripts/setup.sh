#!/usr/bin/env bash
# Makes .venv from the lock file: all that running, testing and checking the project needs.
set -euo pipefail
cd "$(dirname "$0")/.."
lock=requirements-dev.lock
installed=.venv/installed.lock
if cmp -s "$lock" "$installed"; then
  exit 0
fi
python=${PYTHON:-python3.11}
command -v "$python" >/dev/null 2>&1 || python=python3
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
  echo "setup: Python 3.11 or newer is needed (set PYTHON to its path)" >&2
  exit 1
}
echo "setup: installing the locked packages into .venv (a minute or two the first time)"
[ -x .venv/bin/python ] || "$python" -m venv .venv
.venv/bin/python -m pip install --disable-pip-version-check --require-hashes -r "$lock" | sed -u -n 's/^\(Collecting [^ ]*\).*/setup: \1/p; s/^Installing.*/setup: installing/p'
cp "$lock" "$installed"
echo "setup: done"
