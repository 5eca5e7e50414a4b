"""Corners found in recorded pictures lie where the truth beside the recording says, through every lens and shutter.

Nothing but the session is used: pictures as stored, with noise and compression, and the files in `truth/`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import aprilgrid
import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from handcap import geometry, session, sim
from handcap.clock import nanoseconds
from handcap.geometry import Array
from handcap.types import Gripper, MountedCamera, Trajectory

LINE_DELAY_S = 30e-6  # a cheap sensor reads 480 rows in 14 ms
Found = tuple[NDArray[np.int64], Array]  # ids (n,), corners (n, 2) px


@dataclass(frozen=True, eq=False, slots=True)
class Recorded:
    """A take and its truth."""

    folder: Path
    facts: dict
    camera: MountedCamera
    gripper: Gripper | None
    motion: Trajectory

    def in_picture(self, t_ns: int, points_world: Array) -> Array:
        """(n, 2) px of points as each one's row was exposed."""
        camera, height = self.camera, self.camera.camera.height
        row = np.full(len(points_world), (height - 1) / 2)
        for _ in range(4 if camera.line_delay_s else 1):
            at_ns = t_ns + nanoseconds((row - (height - 1) / 2) * camera.line_delay_s)
            T_world_cam = (
                geometry.interpolate_poses(self.motion.t_ns, self.motion.T_world_body, at_ns) @ camera.T_imu_cam
            )
            p_cam = np.einsum(
                "nij,nj->ni", geometry.inverse(T_world_cam)[:, :3, :3], points_world - T_world_cam[:, :3, 3]
            )
            px, _ = camera.camera.project(p_cam)
            row = px[:, 1]
        return px


def recorded(folder: Path, camera: str, **wishes: object) -> Recorded:
    sim.simulate(folder, scene="bench", **wishes)  # type: ignore[arg-type]
    rig = session.read_rig(folder / "truth/rig.json")
    facts = json.loads((folder / "truth/truth.json").read_text())
    motion = session.read_trajectory(folder / f"truth/{rig.cameras[camera].device}_imu.parquet")
    return Recorded(folder, facts, rig.cameras[camera], rig.grippers.get(camera), motion)


def pictures(take: Recorded, camera: str) -> list[tuple[int, NDArray[np.uint8]]]:
    """(true mid-exposure, grey picture) of every second recorded frame."""
    dt_ns = int(nanoseconds(take.camera.dt_imu_cam_s))
    frames = list(session.read(take.folder).take("0001").frames(camera))
    return [(frame.t_ns + dt_ns, frame.image) for frame in frames[::2]]


def find_charuco(picture: NDArray[np.uint8]) -> Found:
    board = cv2.aruco.CharucoBoard((8, 6), 0.05, 0.0375, cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50))
    corners, ids, _, _ = cv2.aruco.CharucoDetector(board).detectBoard(picture)
    if ids is None:
        return np.zeros(0, np.int64), np.zeros((0, 2))
    return ids.ravel().astype(np.int64), corners.reshape(-1, 2).astype(float)


def find_aprilgrid(picture: NDArray[np.uint8]) -> Found:
    found = aprilgrid.Detector("t36h11").detect(picture)
    if not found:
        return np.zeros(0, np.int64), np.zeros((0, 2))
    ids = [4 * tag.tag_id + np.arange(4) for tag in found]
    return np.concatenate(ids), np.concatenate([tag.corners.reshape(4, 2)[[1, 0, 3, 2]] for tag in found]).astype(float)


def board_errors_px(take: Recorded, camera: str, name: str, find: Callable[[NDArray[np.uint8]], Found]) -> Array:
    board = next(board for board in take.facts["boards"] if board["name"] == name)
    corners_world = geometry.transform(np.array(board["T_world_board"]), np.array(board["corners_board_m"]))
    place = {corner: k for k, corner in enumerate(board["corner_ids"])}
    errors: list[float] = []
    for t_ns, picture in pictures(take, camera):
        ids, found_px = find(picture)
        known = [k for k, corner in enumerate(ids.tolist()) if corner in place]
        if known:
            true_px = take.in_picture(t_ns, corners_world[[place[int(ids[k])] for k in known]])
            errors += np.linalg.norm(found_px[known] - true_px, axis=-1).tolist()
    return np.array(errors)


@pytest.mark.parametrize("line_delay_s", [0.0, LINE_DELAY_S], ids=["global", "rolling"])
@pytest.mark.parametrize(
    ("rig", "camera", "name", "find"),
    [
        ("head", "head", "charuco", find_charuco),
        ("head-wide", "head", "aprilgrid", find_aprilgrid),
        ("head-fisheye200", "head", "charuco", find_charuco),
        ("gripper", "right", "aprilgrid", find_aprilgrid),
    ],
    ids=["fisheye 130", "pinhole", "fisheye 200", "gripper"],
)
def test_board_corners_lie_where_the_truth_says(
    tmp_path: Path, rig: str, camera: str, name: str, find: Callable[[NDArray[np.uint8]], Found], line_delay_s: float
) -> None:
    params = sim.SimulationParams(task=name, line_delay_s=line_delay_s)
    take = recorded(tmp_path / "s", camera, rig=rig, seconds=3.0, seed=2, dt_imu_cam_s=0.004, params=params)
    error_px = board_errors_px(take, camera, name, find)
    print(f"virtual rig, {rig}, {name}: {len(error_px)} corners, median {np.median(error_px):.3f} px")
    assert len(error_px) > 200
    assert np.median(error_px) <= 0.1


def test_a_truth_that_ignores_the_rolling_shutter_is_off(tmp_path: Path) -> None:
    params = sim.SimulationParams(task="charuco", line_delay_s=LINE_DELAY_S)
    take = recorded(tmp_path / "s", "head", rig="head", seconds=3.0, seed=2, params=params)
    ignorant = replace(take, camera=replace(take.camera, line_delay_s=0.0))
    # Where the head hardly turns, the shutter hardly matters: the fast tenth tells.
    known, unknown = (np.percentile(board_errors_px(x, "head", "charuco", find_charuco), 90) for x in (take, ignorant))
    assert unknown > 2 * known


def test_finger_tags_lie_where_the_jaw_opening_puts_them(tmp_path: Path) -> None:
    take = recorded(tmp_path / "s", "right", rig="gripper", seconds=6.0, params=sim.SimulationParams(task="jaws"))
    gripper = take.gripper
    assert gripper is not None
    tcp = session.read_trajectory(take.folder / "truth/right_tcp.parquet")
    width_m = pq.read_table(take.folder / "truth/right_tcp.parquet")["width_m"].to_numpy()
    refining = cv2.aruco.DetectorParameters()
    refining.cornerRefinementMethod, refining.cornerRefinementWinSize = cv2.aruco.CORNER_REFINE_SUBPIX, 3
    detector = cv2.aruco.ArucoDetector(cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50), refining)
    off_px: list[Array] = []
    opened: list[float] = []
    for t_ns, picture in pictures(take, "right"):
        row = int(np.flatnonzero(tcp.t_ns == t_ns)[0])
        corners, ids, _ = detector.detectMarkers(picture)
        for tag in gripper.tags:
            if ids is None or tag.family != "4x4_50" or tag.id not in ids.ravel():
                continue
            sign = -0.5 if tag.body == "finger_a" else 0.5
            T_world_finger = tcp.T_world_body[row] @ geometry.se3(np.eye(3), [sign * width_m[row], 0.0, 0.0])
            corners_world = geometry.transform(T_world_finger, tag.corners_body)
            found_px = corners[list(ids.ravel()).index(tag.id)][0]
            # The detector's corners lie up to a pixel inside a square of 25 px, all four alike: their mean does not.
            off_px.append((found_px - take.in_picture(t_ns, corners_world)).mean(axis=0))
            opened.append(float(width_m[row]))
    assert len(off_px) > 40 and np.ptp(opened) > 0.02
    bias_px = np.median(off_px, axis=0)
    print(f"virtual rig, finger tags: {len(off_px)}, off by {bias_px.round(3)} px")
    assert np.abs(bias_px).max() <= 0.1
