#!/usr/bin/env bash
# Makes .venv from the lock file: all that running, testing and checking the project needs.
set -euo pipefail
cd "$(dirname "$0")/.."
lock=requirements-dev.lock
stamp=.venv/.lock.sha256
python=${PYTHON:-python3.11}
command -v "$python" >/dev/null 2>&1 || python=python3
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
  echo "setup: Python 3.11 or newer is needed (set PYTHON to its path)" >&2
  exit 1
}
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(sha256sum <"$lock")" ]; then
  exit 0
fi
echo "setup: installing the locked packages into .venv (a minute or two the first time)"
[ -x .venv/bin/python ] || "$python" -m venv .venv
.venv/bin/python -m pip install --disable-pip-version-check --quiet --require-hashes -r "$lock"
sha256sum <"$lock" >"$stamp"
echo "setup: done"
