"""The real LeRobotDataset opens what we export.

Opt-in, as LeRobot cannot share our environment: `tools/prove_lerobot.sh` makes one, then runs this with
HANDCAP_LEROBOT_PYTHON set to its interpreter.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import exported
import numpy as np
import pytest

from handcap import session as session_store
from handcap.formats.lerobot import export_lerobot

pytestmark = pytest.mark.optin
_READER = Path(__file__).with_name("lerobot_reader.py")
STATS = {"min", "max", "mean", "std", "count", "q01", "q10", "q50", "q90", "q99"}


@pytest.fixture(scope="module")
def opened(mh01_session: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    python = os.environ.get("HANDCAP_LEROBOT_PYTHON")
    if not python:
        pytest.skip("HANDCAP_LEROBOT_PYTHON names no Python with lerobot; run tools/prove_lerobot.sh")
    folder = tmp_path_factory.mktemp("lerobot")
    shutil.copytree(mh01_session, folder / "session")
    exported.set_verdict(folder / "session", "partial", [(0.0, 3.0), (5.0, 9.2)])
    export_lerobot(session_store.read(folder / "session"), folder / "dataset")
    done = subprocess.run([python, str(_READER), str(folder / "dataset")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_it_finds_every_frame_and_episode(opened: dict[str, Any]) -> None:
    assert (opened["length"], opened["fps"], opened["episodes"]) == (61 + 85, 20, 2)
    assert opened["robot_type"] == "handcap_head"
    assert opened["frame_index"] == [*range(61), *range(85)]


def test_pictures_states_and_actions_have_the_declared_shapes(opened: dict[str, Any]) -> None:
    assert opened["shapes"]["observation.images.head"] == [3, 480, 752]
    assert opened["shapes"]["observation.state"] == opened["shapes"]["action"] == [9]
    assert opened["task"] == "unlabelled"


def test_timestamps_lie_on_the_grid_within_its_tolerance(opened: dict[str, Any]) -> None:
    np.testing.assert_allclose(opened["timestamp"], np.array(opened["frame_index"]) / 20, atol=1e-4)


def test_each_frame_it_decodes_is_the_picture_with_that_device_stamp(
    opened: dict[str, Any], mh01_session: Path
) -> None:
    frames = session_store.read(mh01_session).take("0001").frames("head")
    brightness = {frame.t_ns: frame.image.mean() / 255 for frame in frames}
    expected = [brightness[t_ns] for t_ns in opened["camera_t_ns"]]
    assert np.std(expected) > 0.01  # neighbours differ enough to tell
    np.testing.assert_allclose(opened["brightness"], expected, atol=0.004)


def test_statistics_are_complete(opened: dict[str, Any]) -> None:
    assert set(opened["stats"]) == set(opened["features"])
    assert all(set(stats) == STATS for stats in opened["stats"].values())


def test_a_data_loader_gives_batches_with_history_and_action_chunks(opened: dict[str, Any]) -> None:
    batch = opened["batch"]
    assert batch["observation.images.head"] == [4, 3, 480, 752]
    assert batch["observation.state"] == [4, 2, 9]
    assert batch["action"] == [4, 4, 9]
