"""Do a camera's intervals hold the truth? Rendered rigs of the virtual bench, and many more at the level of corners.

    python bench/calibrate_camera.py FOLDER --rendered 20 --corners 200

Rendered rigs are kept in FOLDER and reused. How far their corners lie from the truth is the noise of the rigs that
are not rendered: each view takes its errors from one rendered view, heavy tails included. All figures are of the
virtual rig.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from handcap import geometry, session, sim
from handcap.boards import AprilGrid, Board, CharucoBoard
from handcap.calibrate.camera import CameraParams, calibrate_camera, open_source
from handcap.calibrate.camera.bundle import sightings
from handcap.calibrate.camera.estimate import EstimateParams, estimate_lens
from handcap.calibrate.camera.uncertainty import difference_px, grid_px
from handcap.cameras import Camera
from handcap.clock import nanoseconds
from handcap.geometry import Array
from handcap.measure.boards import SeenCorners, find_board
from handcap.sim.rigs import HEADS, PRINTED

BOARDS: dict[str, tuple[str, Board]] = {
    "lens": ("charuco", CharucoBoard(8, 6, 0.05, 0.0375)),
    "lens-aprilgrid": ("aprilgrid", AprilGrid(6, 6, 0.055, 0.3)),
}
KINDS = [(rig, task) for rig in ("head", "head-wide") for task in BOARDS]
Z95 = 1.96


def rendered(folder: Path, k: int, seconds: float) -> Path:
    rig, task = KINDS[k % len(KINDS)]
    path = folder / f"{k:02d}-{rig}-{task}"
    if not (path / "truth/truth.json").is_file():
        params = sim.SimulationParams(task=task, scatter=PRINTED)
        sim.simulate(path, scene="bench", rig=rig, seconds=seconds, seed=3000 + k, params=params)
    return path


def detector_errors(path: Path, task: str) -> list[Array]:
    """Found minus true, px, view by view."""
    name, board = BOARDS[task]
    facts = json.loads((path / "truth/truth.json").read_text())
    T_world_board = np.array(next(b["T_world_board"] for b in facts["boards"] if b["name"] == name))
    rig = session.read_rig(path / "truth/rig.json")
    mounted = rig.cameras["head"]
    motion = session.read_trajectory(path / "truth/head_imu.parquet")
    errors: list[Array] = []
    for frame in session.read(path).take("0001").frames("head", every=6):
        seen = find_board(frame.image, board)
        if len(seen) < 8:
            continue
        t_ns = np.array([frame.t_ns + int(nanoseconds(mounted.dt_imu_cam_s))])
        T_world_cam = geometry.interpolate_poses(motion.t_ns, motion.T_world_body, t_ns)[0] @ mounted.T_imu_cam
        T_cam_board = geometry.inverse(T_world_cam) @ T_world_board
        true_px, _ = mounted.camera.project(geometry.transform(T_cam_board, board.corners_board[seen.ids]))
        errors.append(seen.px - true_px)
    return errors


def corner_views(lens: Camera, board: Board, bank: list[Array], views: int, rng: np.random.Generator) -> list[dict]:
    """Views as the bench's lens task shows them, corners off by what a rendered view's were."""
    size = board.corners_board.max(axis=0)
    out: list[dict] = []
    while len(out) < views:
        aim = np.array([*(size[:2] / 2 + rng.uniform(-0.3, 0.3, 2) * size[:2]), 0.0])
        tilt, around, distance = np.deg2rad(rng.uniform(0, 42)), rng.uniform(0, 2 * np.pi), rng.uniform(0.28, 0.6)
        away = np.array([np.sin(tilt) * np.cos(around), np.sin(tilt) * np.sin(around), -np.cos(tilt)])
        aside, towards = 0.75 * np.sqrt(rng.uniform()), rng.uniform(0, 2 * np.pi)
        R = geometry.looking_along(-away) @ geometry.so3_exp([0.0, 0.0, rng.uniform(-0.9, 0.9)])
        R = R @ geometry.so3_exp([aside * np.cos(towards), aside * np.sin(towards), 0.0])
        T_cam_board = geometry.inverse(geometry.se3(R, aim + distance * away))
        px, valid = lens.project(geometry.transform(T_cam_board, board.corners_board))
        ids = np.flatnonzero(valid & lens.in_picture(px, 6.0))
        if len(ids) < 8:
            continue
        error = bank[rng.integers(len(bank))]
        out.append({0: SeenCorners(ids, px[ids] + error[rng.integers(len(error), size=len(ids))])})
    return out


def specimen(lens: Camera, rng: np.random.Generator) -> Camera:
    fx, fy, cx, cy, *terms = lens.params
    stretch, x, y = rng.standard_normal(3) * PRINTED.lens
    values = (fx * (1 + stretch), fy * (1 + stretch), cx + lens.width * x, cy + lens.width * y, *terms)
    return replace(lens, params=values)


def worst_px(true: Camera, found: Camera, seen_px: Array) -> float:
    """Largest difference over the part of the picture where the board was seen."""
    at = grid_px(true.width, true.height, 32, 24).reshape(-1, 2)
    near = np.min(np.linalg.norm(at[:, None] - seen_px[None, ::5], axis=-1), axis=1) < true.width / 40
    return float(np.nanmax(np.linalg.norm(difference_px(true, found, at[near], seen_px), axis=1)))


def report(what: str, z: list[Array], worst: list[float], names: dict[str, list[str]], kinds: list[str]) -> None:
    if not z:
        return
    print(f"{what}: {len(z)} rigs; error over the picture, px: median {np.median(worst):.3f}, max {max(worst):.3f}")
    for model, parameters in names.items():
        mine = np.array([row for row, kind in zip(z, kinds, strict=True) if kind == model])
        if len(mine):
            held = np.mean(np.abs(mine) < Z95, axis=0)
            print(f"  {model:16}", "  ".join(f"{n} {100 * h:.0f}" for n, h in zip(parameters, held, strict=True)), "%")
    print(f"  95 % intervals hold the truth: {100 * np.mean(np.abs(np.concatenate(z)) < Z95):.1f} % pooled")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rendered", type=int, default=20)
    parser.add_argument("--corners", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--views", type=int, default=120)
    args = parser.parse_args()
    if args.rendered < len(KINDS):
        parser.error(f"--rendered {len(KINDS)} or more: each kind of rig and board lends its noise to the rest")
    names = {
        "kannala-brandt4": [*HEADS["head"].parameter_names],
        "pinhole-radtan": [*HEADS["head-wide"].parameter_names],
    }
    banks: dict[tuple[str, str], list[Array]] = {}
    z: list[Array] = []
    worst: list[float] = []
    kinds: list[str] = []
    seconds: list[float] = []
    for k in range(args.rendered):
        path, (rig, task) = rendered(args.folder, k, args.seconds), KINDS[k % len(KINDS)]
        banks.setdefault((rig, task), []).extend(detector_errors(path, task))
        true = session.read_rig(path / "truth/rig.json").cameras["head"].camera
        began = time.perf_counter()
        known = calibrate_camera(open_source([str(path)]), BOARDS[task][1], CameraParams()).known
        seconds.append(time.perf_counter() - began)
        assert known is not None
        found = known.estimate
        if found.lens.model != true.model:
            print(f"{path.name}: taken for {found.lens.model}")
            continue
        z.append((np.array(found.lens.params) - true.params) / found.sigma)
        worst.append(worst_px(true, found.lens, found.seen.px))
        kinds.append(true.model)
        print(f"{path.name}: {z[-1].round(1)}, worst {worst[-1]:.3f} px, {seconds[-1]:.0f} s", flush=True)
    report("rendered", z, worst, names, kinds)
    all_z, all_kinds = list(z), list(kinds)
    z, worst, kinds = [], [], []
    for k in range(args.corners):
        (rig, task), rng = KINDS[k % len(KINDS)], np.random.default_rng([5, k])
        true, board = specimen(HEADS[rig], rng), BOARDS[task][1]
        views = corner_views(true, board, banks[rig, task], args.views, rng)
        params = EstimateParams(model=true.model, folds=1, compare=False)
        found = estimate_lens(true.width, true.height, sightings(views, board.corners_board), params)
        assert found is not None
        z.append((np.array(found.lens.params) - true.params) / found.sigma)
        worst.append(worst_px(true, found.lens, found.seen.px))
        kinds.append(true.model)
    report("corners", z, worst, names, kinds)
    report("all", all_z + z, worst, names, all_kinds + kinds)


if __name__ == "__main__":
    main()
