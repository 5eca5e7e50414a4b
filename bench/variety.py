"""Do the seeds of a scene look different? Thumbnails of many seeds of every room, from a head at work.

Writes `out/variety_<scene>.png` for each scene and prints how far the thumbnails are apart, as root mean square of
grey levels of 255: between seeds, and between two views of one seed 0.1 s apart on a lively head.
"""

from __future__ import annotations

import argparse
import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from handcap.cameras import KannalaBrandt4
from handcap.geometry import Array
from handcap.sim import rigs
from handcap.sim.lens import Lens
from handcap.sim.light import bake
from handcap.sim.person import CAMERA_PITCH_RAD, HeadParams, head_motion, head_pose
from handcap.sim.render import Renderer, Shot, Shutter, still
from handcap.sim.scene import Room, SceneBuilder
from handcap.sim.scenes import SCENES

WIDTH, HEIGHT = 128, 96
COLUMNS = 10
APART_S = 0.1
MEAN_GREY = 105.0  # what automatic exposure aims at
OUT = Path("out")


@dataclass(frozen=True, eq=False, slots=True)
class Look:
    """One seed of a scene.

    Attributes:
        picture: (h, w, 3) uint8 RGB, from the middle of the head's box, looking at the work.
        moved: RMS difference of two views APART_S apart, grey levels.
        furnish_s: time that furnishing and textures took.
    """

    picture: Any
    moved: float
    furnish_s: float


def small_camera() -> KannalaBrandt4:
    """The head camera with fewer pixels."""
    lens = rigs.HEADS["head"]
    assert isinstance(lens, KannalaBrandt4)
    shrink = WIDTH / lens.width
    fx, fy, cx, cy, *terms = lens.params
    params = (shrink * fx, shrink * fy, shrink * (cx + 0.5) - 0.5, shrink * (cy + 0.5) - 0.5, *terms)
    return replace(lens, width=WIDTH, height=HEIGHT, params=params)


def at_work(room: Room) -> Array:
    """(4, 4) pose of the head's IMU, the camera aimed at the middle of the work."""
    head = (room.standing.head_low_room + room.standing.head_high_room) / 2
    x, y, z = room.T_room_work[:3, 3] - head
    return head_pose(np.array([*head, np.arctan2(y, x), np.arctan2(-z, np.hypot(x, y)) - CAMERA_PITCH_RAD, 0.0]))


def look(scene_name: str, seed: int) -> Look:
    began_s = time.perf_counter()
    b = SceneBuilder(np.random.default_rng([seed, 1]))
    room = SCENES[scene_name](b)
    scene = b.build(room.lights)
    furnish_s = time.perf_counter() - began_s
    renderer, lens = Renderer(scene, bake(scene)), Lens(small_camera())
    T_imu_cam = rigs.drawn("head", 0).cameras["head"].T_imu_cam
    bodies = {prop.body: still(prop.T_room_prop) for prop in room.props}
    if room.slide is not None:
        bodies[room.slide.body] = still(room.slide.T_room_body)

    def view(T_room_imu: Array) -> Array:
        shot = Shot(Shutter(0.0), still(T_room_imu @ T_imu_cam), bodies)
        light = renderer.render(lens, shot).astype(float)
        return np.clip(light * (MEAN_GREY / light.mean()), 0, 255)

    motion = head_motion(room.standing, HeadParams(), 4.0, (seed, 2))
    before, after = (view(T) for T in motion.pose(np.array([2.0, 2.0 + APART_S])))
    return Look(np.rint(view(at_work(room))).astype(np.uint8), apart(before, after), furnish_s)


def apart(a: Array, b: Array) -> float:
    return float(np.sqrt(np.mean((a - b) ** 2)))


def main() -> None:
    parser = argparse.ArgumentParser(description="Contact sheets of many seeds.")
    parser.add_argument("--seeds", type=int, default=100)
    # The calibration bench is meant to be the same every time but for colours and light.
    parser.add_argument("--scenes", nargs="*", default=[name for name in SCENES if name != "bench"])
    chosen = parser.parse_args()
    import cv2

    OUT.mkdir(exist_ok=True)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for name in chosen.scenes:
            began_s = time.perf_counter()
            looks = list(pool.map(look, [name] * chosen.seeds, range(chosen.seeds)))
            pictures = [each.picture for each in looks]
            blank = np.zeros_like(pictures[0])
            pictures += [blank] * (-len(pictures) % COLUMNS)
            rows = [np.hstack(pictures[k : k + COLUMNS]) for k in range(0, len(pictures), COLUMNS)]
            cv2.imwrite(str(OUT / f"variety_{name}.png"), np.vstack(rows)[..., ::-1])
            flat = np.array([each.picture for each in looks], float).reshape(len(looks), -1)
            pairs = [(apart(flat[i], flat[j]), i, j) for i in range(len(flat)) for j in range(i)]
            distance, i, j = min(pairs)
            moved = [each.moved for each in looks]
            furnish_s = [each.furnish_s for each in looks]
            print(
                f"{name}: seeds apart {np.mean([pair[0] for pair in pairs]):.1f} on average, {distance:.1f} at least "
                f"(seeds {j} and {i}); two views {APART_S} s apart {np.median(moved):.1f} (median), {max(moved):.1f} "
                f"at most; furnished in {np.median(furnish_s):.1f} s (median), {max(furnish_s):.1f} at most; "
                f"{len(looks)} seeds in {time.perf_counter() - began_s:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
