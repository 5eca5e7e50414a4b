"""`handcap demo`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import exported
import numpy as np
import pytest

from handcap import session as session_store
from handcap.formats.tum import read_tum, write_tum
from handcap.geometry import se3, so3_exp, transform
from handcap.review.still import against_truth, draw_still
from handcap.types import Trajectory

CODE = "from handcap.cli.app import main; main()"


def _demo(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", CODE, "demo", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_real_recording_goes_through_the_whole_chain_with_its_error(
    shared_data: Callable[[str], Path], tmp_path: Path
) -> None:
    done = _demo(tmp_path, "--from", str(shared_data("vio/euroc_mh01_head")), "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["summary"]["takes"] == {"0001": "ok"}
    table = said["summary"]["table"]
    assert table["posed"] == 1.0
    assert 0 < table["ate_mm"] <= 8.0  # the floor of the reconstruction
    assert 0 < table["tilt_deg"] <= 0.3
    assert abs(table["offset_ms"]) <= 0.5
    for name in ("session", "lerobot", "replay.rrd", "picture.png"):
        assert (tmp_path / "demo" / name).exists(), name
    assert cv2.imread(str(tmp_path / "demo/picture.png")).shape == (760, 1600, 3)


def test_the_demo_that_everybody_runs_first_succeeds(demo: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = demo
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["summary"]["takes"] == {"0001": "ok"}
    table = said["summary"]["table"]
    assert table["ate_mm"] < 8.0
    assert table["left_mm"] < 3.0 and table["right_mm"] < 3.0
    assert table["left_jaw_mm"] < 0.3 and table["right_jaw_mm"] < 0.3
    assert (folder / "cameras.png").exists()


@pytest.mark.slow
def test_the_virtual_rig_is_recovered_and_called_virtual(tmp_path: Path) -> None:
    done = _demo(tmp_path, "--seconds", "10")
    assert done.returncode == 0, done.stderr
    assert "Virtual rig" in done.stdout
    for command in ("handcap review demo/session", "handcap demo --from", "README"):
        assert command in done.stdout
    again = _demo(tmp_path, "--seconds", "10", "--json")
    assert again.returncode == 0, again.stderr
    table = json.loads(again.stdout)["summary"]["table"]
    assert table["ate_mm"] < 8.0
    assert table["tilt_deg"] < 0.1
    assert abs(table["offset_error_ms"]) < 0.2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["demo", "demo-2"]


def test_a_recording_at_rest_is_refused_in_plain_words_with_a_replay_to_look_at(
    shared_data: Callable[[str], Path], tmp_path: Path
) -> None:
    done = _demo(tmp_path, "--from", str(shared_data("vio/euroc_V101_micro_kimera")))
    assert done.returncode == 1
    assert "did not move" in done.stdout
    assert sorted(p.name for p in (tmp_path / "demo").iterdir()) == ["replay.rrd", "session"]


def test_an_existing_session_is_used_where_it_lies(tmp_path: Path) -> None:
    path = exported.write_session(tmp_path / "mine")
    exported.write_result(path)
    before = exported.files(path)
    done = _demo(tmp_path, "--from", "mine", "--out", "out", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["outputs"] == ["mine", "out/lerobot", "out/replay.rrd", "out/picture.png"]
    assert exported.files(path) == before


@pytest.mark.parametrize("source", ["empty", "missing"])
def test_nothing_is_left_behind_when_there_is_nothing_to_demonstrate(tmp_path: Path, source: str) -> None:
    (tmp_path / "empty").mkdir()
    done = _demo(tmp_path, "--from", source, "--out", "deep/out", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["mend"]
    assert [p.name for p in tmp_path.iterdir()] == ["empty"]


def test_results_of_the_user_are_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    done = _demo(tmp_path, "--out", "out")
    assert done.returncode == 1
    assert "exists already" in done.stderr
    assert not list((tmp_path / "out").iterdir())


def test_errors_are_drawn_after_the_worlds_are_brought_together(tmp_path: Path) -> None:
    path = exported.write_session(tmp_path / "session")
    exported.write_result(path)
    head = session_store.read_trajectory(path / "derived/0001/reconstruct/head.parquet")
    T_other_world = se3(so3_exp([0.0, 0.0, 2.0]), [5.0, -3.0, 1.0])
    moved = T_other_world @ head.T_world_body
    truth = Trajectory("head", head.t_ns, head.t_ns, moved, head.cov, head.tracked)
    compared = against_truth(truth, head)
    np.testing.assert_allclose(compared.p_truth, compared.p_estimate, atol=1e-9)
    write_tum(tmp_path / "truth.txt", truth)
    draw_still(session_store.read(path), "0001", tmp_path / "a.png", read_tum(tmp_path / "truth.txt"), "a ≥ b")
    draw_still(session_store.read(path), "0001", tmp_path / "b.png", truth, "a ≥ b")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    np.testing.assert_allclose(transform(T_other_world, head.T_world_body[3, :3, 3]), moved[3, :3, 3])


def test_truth_beside_mav0_is_found_from_either_folder(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    from handcap.cli.demo import _truth

    path = exported.write_session(tmp_path / "session")
    source = tmp_path / "recording"
    (source / "mav0").mkdir(parents=True)
    shutil.copy(shared_data("vio/euroc_mh01_head") / "groundtruth_tum.txt", source)
    session = session_store.read(path)
    assert _truth(session, source) is not None
    assert _truth(session, source / "mav0") is not None
    assert _truth(session, tmp_path) is None
