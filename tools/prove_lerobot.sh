#!/usr/bin/env bash
# Opens an exported dataset with the real LeRobotDataset, in an environment of its own (LeRobot pins other versions
# than we do). Usage: tools/prove_lerobot.sh [FOLDER for that environment, default build/lerobot]
# Downloads some 3 GB the first time: LeRobot brings PyTorch.
set -euo pipefail
cd "$(dirname "$0")/.."
environment=${1:-build/lerobot}
if [ ! -x "$environment/bin/lerobot-info" ]; then
  python3.11 -m venv "$environment"
  "$environment/bin/pip" install --quiet lerobot==0.4.4
fi
HANDCAP_LEROBOT_PYTHON=$(realpath -s "$environment/bin/python") exec .venv/bin/python -m pytest -m optin tests/test_lerobot_real.py
