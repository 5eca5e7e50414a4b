"""How well are bare hands found? Virtual takes with two head cameras, one alignment fitted on the head.

A fixed offset per joint in the wrist frame, between the network's and the anatomical definition, is measured on the
calibration seeds and printed; errors are given without and with it. A hand counts as visible when all its joints
project into a head camera and at least half of them do not hide there behind the wearer's other arm, a sleeve or a
thing; without depth in the truth what hides counts as well.

With --worn: what one camera is worth in a session whose first take two cameras saw, with that take's bones and without.
The second take is the same wearer in another room.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from handcap import session, sim
from handcap.geometry import Array, inverse, transform
from handcap.reconstruct import run_session
from handcap.reconstruct.hands import HandParams
from handcap.reconstruct.hands.wrist import wrist_pose
from handcap.reconstruct.result import ReconstructParams
from handcap.reconstruct.score import in_world_of
from handcap.types import SIDES, Side

SCENES = ("corridor", "kitchen", "nursery", "shop_shelf")
FLOORS_MM = {"two views": (11.0, 7.0), "one view": (16.0, np.nan)}
MOST_LOST = 0.05
CHI2_3_95 = 7.815
OWN_HAND_M = 0.08  # a joint lies no deeper behind its own hand


@dataclass(frozen=True, eq=False, slots=True)
class Seen:
    """One hand in one take: (n, 21, 3) found and true joints in the true world, (n, 21) sigma, side, rows lost."""

    found: Array
    exact: Array
    sigma_m: Array
    side: Side
    visible: int
    lost: int
    swapped: int


def measure(folder: Path, take: str = "0001", true: Path | None = None) -> list[Seen]:
    """Every hand of a reconstructed take; `true` is the folder that holds its truth, by default its own."""
    derived = folder / f"derived/{take}/reconstruct"
    true = true or folder
    head = session.read_trajectory(derived / "head.parquet")
    world = in_world_of(session.read_trajectory(true / "truth/head_imu.parquet"), head)
    T_world_head = session.read_trajectory(true / "truth/head.parquet").T_world_body
    exact = {side: _joints(true / f"truth/{side}_hand.parquet") for side in SIDES}
    mounts = {name: m for name, m in session.read(folder).rig.cameras.items() if m.device == "head"}
    out = []
    for side in SIDES:
        joints = exact[side]
        visible = np.zeros(len(joints), bool)
        for name, mount in mounts.items():
            p_cam = transform(inverse(T_world_head @ mount.T_imu_cam)[:, None], joints)
            pixel, valid = mount.camera.project(p_cam)
            inside: NDArray[np.bool_] = np.asarray((valid & mount.camera.in_picture(pixel)).all(axis=1), bool)
            visible |= inside & (_hidden(true / "truth/depth" / name, pixel, p_cam[..., 2], inside) <= 0.5)
        path = derived / f"{side}_hand.parquet"
        n = len(head)
        visible = visible[:n]
        if not path.exists():
            out.append(
                Seen(
                    np.zeros((0, 21, 3)), np.zeros((0, 21, 3)), np.zeros((0, 21)), side, visible.sum(), visible.sum(), 0
                )
            )
            continue
        found = world.apply(_joints(path).reshape(-1, 3)).reshape(-1, 21, 3)
        tracked = np.isfinite(found[:, 0, 0])
        other = exact["left" if side == "right" else "right"][:n]
        nearer = np.linalg.norm(found - other, axis=2).mean(axis=1) < np.linalg.norm(found - joints[:n], axis=2).mean(
            axis=1
        )
        sigma = np.array([s or [np.nan] * 21 for s in pq.read_table(path)["joint_sigma_m"].to_pylist()], float)
        lost = int((visible & ~tracked).sum())
        swapped = int((nearer & tracked).sum())
        out.append(Seen(found[tracked], joints[:n][tracked], sigma[tracked], side, int(visible.sum()), lost, swapped))
    return out


def _hidden(depths: Path, pixel: Array, z_m: Array, inside: NDArray[np.bool_]) -> Array:
    """(n,) share of joints that hide behind what is not their own hand, by the depth pictures of a camera."""
    out = np.zeros(len(pixel))
    if not depths.exists():
        return out
    for row, path in enumerate(sorted(depths.iterdir())[: len(pixel)]):
        if inside[row]:
            depth_m = np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), float) / 1000
            x, y = np.rint(pixel[row]).astype(int).T
            at = depth_m[np.clip(y, 0, len(depth_m) - 1), np.clip(x, 0, depth_m.shape[1] - 1)]
            out[row] = np.mean((at > 0) & (at < z_m[row] - OWN_HAND_M))
    return out


def _joints(path: Path) -> Array:
    rows = pq.read_table(path)["joints_world"].to_pylist()
    return np.array([row or [np.nan] * 63 for row in rows], float).reshape(-1, 21, 3)


def _in_wrist(joints: Array, side: Side) -> Array:
    """Joints in their own wrist frame, a left hand mirrored to a right one."""
    return transform(inverse(wrist_pose(joints, side))[:, None], joints) * [1, 1 if side == "right" else -1, 1]


def offsets_m(hands: list[Seen]) -> Array:
    """(21, 3) of the true joint from the found one, right wrist frame."""
    # Where the true joint lies in the found wrist frame, so that the frame's own offset is in it.
    pieces = []
    for hand in hands:
        mirror = [1, 1 if hand.side == "right" else -1, 1]
        back = inverse(wrist_pose(hand.found, hand.side))[:, None]
        pieces.append((transform(back, hand.exact) - transform(back, hand.found)) * mirror)
    return np.median(np.concatenate(pieces), axis=0)


def corrected(hand: Seen, offset_m: Array) -> Seen:
    """With the joints moved by the offsets."""
    T = wrist_pose(hand.found, hand.side)
    mirror = [1, 1 if hand.side == "right" else -1, 1]
    return replace(hand, found=hand.found + np.einsum("nab,jb->nja", T[:, :3, :3], offset_m * mirror))


def report(hands: list[Seen], name: str, floors_mm: tuple[float, float]) -> None:
    """Print what was measured."""
    found, exact = (np.concatenate([getattr(h, k) for h in hands]) for k in ("found", "exact"))
    sigma = np.concatenate([h.sigma_m for h in hands])
    off_mm = 1e3 * np.linalg.norm(found - exact, axis=2)
    inside = [
        1e3 * np.linalg.norm(_in_wrist(h.found, h.side) - _in_wrist(h.exact, h.side), axis=2)
        for h in hands
        if len(h.found)
    ]
    rooted = 1e3 * np.linalg.norm((found - found[:, :1]) - (exact - exact[:, :1]), axis=2)
    held = float(((off_mm / 1e3 / sigma) ** 2 <= CHI2_3_95).mean())
    print(
        f"{name}: {off_mm.mean():.1f} mm mean, {np.median(off_mm):.1f} median (floor {floors_mm[0]:g} mean); "
        f"wrists laid together {rooted.mean():.1f} mm (floor {floors_mm[1]:g}), "
        f"wrist frames {np.concatenate(inside).mean():.1f}; "
        f"95 % regions hold {100 * held:.1f} %"
    )


def worn(args: argparse.Namespace) -> None:
    """One camera in the second take of a session, the first take's bones known or not."""
    by_name: dict[str, list[Seen]] = {"one view, first take unknown": [], "one view, first take's bones": []}
    for seed in range(args.first_seed, args.first_seed + args.takes):
        rooms = [args.out / f"{seed}-{k}" for k in (1, 2)]
        for k, room in enumerate(rooms):
            if not room.exists():
                args.out.mkdir(parents=True, exist_ok=True)
                scene = SCENES[(seed + k) % len(SCENES)]
                sim.simulate(room, scene=scene, rig="hands", seconds=args.seconds, seed=seed)
        folder = args.out / f"{seed}-both"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(rooms[0], folder, ignore=shutil.ignore_patterns("derived", "truth"))
        shutil.copytree(rooms[1] / "raw/0001", folder / "raw/0002")
        for name, hands in by_name.items():
            if "unknown" not in name:
                run_session(folder, take="0001", params=ReconstructParams(hands=HandParams(on=True)))
            one = ReconstructParams(hands=HandParams(on=True, most_cameras=1))
            (result,) = run_session(folder, take="0002", params=one)
            found = measure(folder, "0002", rooms[1])
            hands += found
            print(f"{seed} {name}: {result.report['worn_bones'] is not None}", flush=True)
            report([h for h in found if len(h.found)], f"{seed} {name}", FLOORS_MM["one view"])
    for name, hands in by_name.items():
        report([h for h in hands if len(h.found)], name, FLOORS_MM["one view"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--takes", type=int, default=4)
    parser.add_argument("--first-seed", type=int, default=201)
    parser.add_argument("--calibration-takes", type=int, default=2)
    parser.add_argument("--calibration-seed", type=int, default=101)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--one-view", action="store_true", help="use the followed camera alone")
    parser.add_argument("--worn", action="store_true", help="one camera in the second take of a session")
    parser.add_argument("--out", type=Path, default=Path("out/bench/bare_hands"))
    args = parser.parse_args()
    if args.worn:
        worn(args)
        return
    params = ReconstructParams(hands=HandParams(on=True, most_cameras=1 if args.one_view else 2))
    name = "one view" if args.one_view else "two views"

    def hands_of(seed: int) -> list[Seen]:
        folder = args.out / str(seed)
        if not folder.exists():
            args.out.mkdir(parents=True, exist_ok=True)
            scene, depth = SCENES[seed % len(SCENES)], sim.SimulationParams(depth=True)
            sim.simulate(folder, scene=scene, rig="hands", seconds=args.seconds, seed=seed, params=depth)
        (result,) = run_session(folder, params=params)
        timing = json.loads((folder / "derived/0001/reconstruct/timing.json").read_text(encoding="utf-8"))
        hands = measure(folder)
        lost, visible = sum(h.lost for h in hands), sum(h.visible for h in hands)
        print(
            f"{seed} {result.verdict}: lost {lost} of {visible} visible, swapped rows {sum(h.swapped for h in hands)}, "
            f"hands {timing['seconds']['hands'] / args.seconds:.2f} s/s",
            flush=True,
        )
        return hands

    known = [h for k in range(args.calibration_takes) for h in hands_of(args.calibration_seed + k)]
    hands = [h for k in range(args.takes) for h in hands_of(args.first_seed + k)]
    lost = sum(h.lost for h in hands) / max(sum(h.visible for h in hands), 1)
    print(f"lost while visible {100 * lost:.1f} % (floor {100 * MOST_LOST:g} %)")
    report(hands, f"{name}, as found", FLOORS_MM[name])
    if known:
        offset_m = offsets_m(known)
        print(f"offsets per joint, right wrist frame, mm: {np.round(1e3 * offset_m).astype(int).tolist()}")
        report([corrected(h, offset_m) for h in hands], f"{name}, offsets applied", FLOORS_MM[name])


if __name__ == "__main__":
    main()
