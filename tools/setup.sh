#!/bin/sh
# Makes .venv from requirements.lock; does nothing when that was done for this very lock.
set -eu
cd "$(dirname "$0")/.."

stamp=.venv/handcap-setup
want=$(cat requirements.lock pyproject.toml | sha256sum | cut -d' ' -f1)
[ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ] && exit 0

if ! command -v python3 >/dev/null 2>&1; then
    echo "handcap: there is no python3. Install python3 and python3-venv (the first line of README.md)." >&2
    exit 1
fi
if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "handcap needs Python 3.11 or newer; this is $(python3 --version). Debian 12 and Ubuntu 24.04 have it." >&2
    exit 1
fi
tools/check_system.sh

echo "handcap: installing into .venv: 1.3 GB to download, 4.4 GB on disk. Your pip settings (mirror, cache) are used."
[ -x .venv/bin/python ] || python3 -m venv .venv
.venv/bin/python -m pip install --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
.venv/bin/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
echo "$want" > "$stamp"
