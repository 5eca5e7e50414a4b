"""Does real MediaPipe find the virtual hand? Random egocentric views of one hand before a furnished room.

A view counts when at least 60 % of the hand's skin lies in the picture before the room, and the hand is at least 80 px
tall. It is a hit when a detection's median landmark error is under 20 % of the hand's size in the picture.

MediaPipe's palm detector looks at 192 × 192 pixels, which makes a hand of 80 px in a picture of 640 × 480 one of 24.
So each picture is looked at three times: as a whole, and its left and its right square; the rate of the whole alone is
printed too. The same network's rate on real egocentric photos stands beside it; those carry no true joints, so any
detection counts there.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from handcap import geometry, models
from handcap.cameras import Camera, PinholeRadtan
from handcap.geometry import Array
from handcap.sim import photo, rigs
from handcap.sim.exposure import ExposureParams, brighter_by, metered
from handcap.sim.hand import Hand, HandShape, grips
from handcap.sim.lens import Lens
from handcap.sim.light import bake
from handcap.sim.render import Renderer, Shot, Shutter, Skin, still
from handcap.sim.scene import Room, SceneBuilder
from handcap.sim.scenes import SCENES

VISIBLE, TALL_PX, CLOSE = 0.6, 80.0, 0.2
FRONTAL_RAD = np.deg2rad(60.0)
CAMERAS: dict[str, Camera] = {
    "pinhole": PinholeRadtan(640, 480, (430.0, 430.0, 319.5, 239.5, 0.0, 0.0, 0.0, 0.0)),
    "head": rigs.HEADS["head"],
}
TONES = 8


@dataclass(frozen=True, eq=False, slots=True)
class View:
    """One picture and what is true of it.

    Attributes:
        picture: (h, w, 3) uint8 RGB.
        joints_px: (21, 2).
        frontal: whether palm or back lies within 60° of the viewing axis.
        posture, tone, length_m: whose hand, doing what.
    """

    picture: Any
    joints_px: Array
    frontal: bool
    posture: str
    tone: int
    length_m: float


@dataclass(frozen=True, eq=False, slots=True)
class _Stage:
    room: Room
    renderer: Renderer


def _stage(seed: int, name: str) -> _Stage:
    b = SceneBuilder(np.random.default_rng([seed, 1]))
    room = SCENES[name](b)
    scene = b.build(room.lights)
    return _Stage(room, Renderer(scene, bake(scene)))


def _posture(rng: np.random.Generator, shape: HandShape) -> tuple[str, Array]:
    name = str(rng.choice(["relaxed", "flat", "pinch", "grasp", "fist", "point"], p=[0.22, 0.2, 0.2, 0.2, 0.08, 0.1]))
    angles = {
        "relaxed": grips.relaxed,
        "flat": lambda: grips.flat(rng.uniform(0, 1)),
        "pinch": lambda: grips.pinch(rng.uniform(0, 0.08), shape),
        "grasp": lambda: grips.grasp(rng.uniform(0.015, 0.045), shape),
        "fist": grips.fist,
        "point": grips.point,
    }[name]()
    angles = angles + np.deg2rad(4) * rng.standard_normal(len(angles))
    angles[:2] += np.deg2rad([rng.uniform(-35, 30), rng.uniform(-15, 12)])
    return name, grips.within_limits(angles)


def _camera(rng: np.random.Generator, room: Room) -> Array:
    """`T_room_cam` of a head that looks at something, rolled a little."""
    standing = room.standing
    eye = rng.uniform(standing.head_low_room, standing.head_high_room)
    box = standing.gaze_boxes_room[rng.choice(len(standing.gaze_weights), p=standing.gaze_weights)]
    forward = rng.uniform(box[0], box[1]) - eye
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    R = np.stack([right, np.cross(forward, right), forward], axis=-1)
    return geometry.se3(R @ geometry.so3_exp([0, 0, rng.normal(0, 0.1)]), eye)


# Approximate, of an adult: joint of the shoulder from the eye, upper arm, forearm.
_SHOULDER_OUT_M, _SHOULDER_DOWN_M, _SHOULDER_BACK_M = 0.18, 0.24, 0.10
_UPPER_ARM_M, _FOREARM_M = 0.30, 0.26


def _wrist(
    rng: np.random.Generator, shape: HandShape, angles: Array, camera: Camera, T_room_cam: Array
) -> Array | None:
    """`T_cam_wrist`: at the end of an arm that hangs from the wearer's shoulder; None beyond its reach."""
    pixel = rng.uniform([0.15, 0.2], [0.85, 0.9]) * [camera.width, camera.height]
    ray, _ = camera.unproject(pixel)
    middle = geometry.transform(T_room_cam, ray * rng.uniform(0.3, 0.7))
    size = shape.length_m / 0.19
    lateral = 1.0 if shape.side == "right" else -1.0
    # The trunk stays upright when the head looks down, and need not face where the head does.
    up, heading = np.array([0.0, 0.0, 1.0]), rng.normal(0, 0.25)
    right = geometry.so3_exp(heading * up) @ (T_room_cam[:3, 0] * [1, 1, 0])
    right /= np.linalg.norm(right)
    ahead = np.cross(up, right)
    eye_shoulder = lateral * _SHOULDER_OUT_M * right - _SHOULDER_DOWN_M * up - _SHOULDER_BACK_M * ahead
    shoulder = T_room_cam[:3, 3] + size * eye_shoulder + rng.normal(0, 0.03, 3)
    to = middle - shoulder
    far = float(np.linalg.norm(to))
    to /= far
    upper, lower = size * _UPPER_ARM_M, size * _FOREARM_M + 0.47 * shape.length_m
    if not abs(upper - lower) + 0.05 < far < upper + lower - 0.01:
        return None
    # The elbow is free to swing about the line from shoulder to hand: it hangs, or is raised outwards a little.
    down = np.cross(to, np.cross(-up, to))
    swing = -lateral * np.deg2rad(rng.uniform(0, 50))
    down = geometry.so3_exp(swing * to) @ (down / np.linalg.norm(down))
    along = (upper**2 - lower**2 + far**2) / (2 * far)
    elbow = shoulder + along * to + np.sqrt(max(upper**2 - along**2, 0.0)) * down
    x = (middle - elbow) / np.linalg.norm(middle - elbow)
    # With the thumb to the shoulder, the back of the hand looks out of the plane of the bent arm; a forearm turns 80°
    # either way from there (AAOS 1965).
    outwards = lateral * np.cross(down, to)
    outwards -= (outwards @ x) * x
    turned = lateral * np.deg2rad(rng.uniform(-80, 80))
    z = geometry.so3_exp(turned * x) @ (outwards / np.linalg.norm(outwards))
    R_room_forearm = np.stack([x, np.cross(z, x), z], axis=-1)
    # The hand bends on the forearm, not the forearm on the hand.
    flexion, deviation = angles[:2]
    R_palm_forearm = geometry.so3_exp([0, 0, -deviation]) @ geometry.so3_exp([0, -flexion, 0])
    wrist = middle - 0.47 * shape.length_m * x
    T_room_wrist = geometry.se3(R_room_forearm @ R_palm_forearm.T, wrist)
    return geometry.inverse(T_room_cam) @ T_room_wrist


def views(camera: Camera, seed: int, scene: str = "kitchen", rooms: int = 4) -> Iterator[View]:
    """Views that count, one after the other, for ever."""
    lens = Lens(camera)
    arriving = photo.vignette(camera, 0.2)
    stages = [_stage(100 * seed + k, scene) for k in range(rooms)]
    k = 0
    while True:
        rng = np.random.default_rng([seed, 2, k])
        view = _view(rng, camera, lens, arriving, stages[k % rooms])
        k += 1
        if view is not None:
            yield view


def _view(rng: np.random.Generator, camera: Camera, lens: Lens, arriving: Any, stage: _Stage) -> View | None:
    shape = HandShape(
        side="right" if rng.random() < 0.5 else "left",
        length_m=rng.uniform(0.16, 0.205),
        tone=int(rng.integers(TONES)),
        girth=rng.uniform(0.9, 1.1),
        sleeve_m=float(rng.choice([0.05, 0.09, 0.3])),
        seed=int(rng.integers(1 << 30)),
    )
    T_room_cam = _camera(rng, stage.room)
    name, angles = _posture(rng, shape)
    T_cam_wrist = _wrist(rng, shape, angles, camera, T_room_cam)
    if T_cam_wrist is None:
        return None
    hand = Hand(shape)
    joints_cam = geometry.transform(T_cam_wrist, hand.joints_wrist(angles))
    vertices, normals, occlusion = hand.skin(angles)
    skin_cam = geometry.transform(T_cam_wrist, vertices[hand.is_hand])
    joints_px, joints_ok = camera.project(joints_cam)
    skin_px, skin_ok = camera.project(skin_cam)
    tall_px = float(np.ptp(skin_px[:, 1]))
    if not joints_ok.all() or not skin_ok.all() or tall_px < TALL_PX:
        return None
    seen = camera.in_picture(skin_px)
    if seen.mean() < VISIBLE:
        return None
    empty = Shot(Shutter(0.0), still(T_room_cam))
    column, row = np.rint(skin_px[seen]).astype(int).T
    if not (skin_cam[seen, 2] < _depth(stage.renderer, lens, empty)[row, column]).all():
        return None  # a hand in a table is nothing that happens
    skin = Skin(still(T_room_cam @ T_cam_wrist), vertices, normals, hand.triangles, hand.albedo, occlusion)
    shot = Shot(Shutter(0.0), still(T_room_cam), {}, (skin,))
    bare = replace(skin, triangles=hand.triangles[hand.is_hand[hand.triangles].all(axis=1)])
    without_arm = _depth(stage.renderer, lens, replace(shot, skins=(bare,)))
    on_hand = without_arm < _depth(stage.renderer, lens, empty)
    hidden = _depth(stage.renderer, lens, shot)[on_hand] < without_arm[on_hand] - 1e-3
    if seen.mean() * (1 - hidden.mean()) < VISIBLE:
        return None  # behind the wearer's own arm
    light = photo.focus(stage.renderer.render(lens, shot), photo.PhotoParams().blur_px)
    exposing = ExposureParams(target_grey=rng.uniform(80, 125))
    gain = brighter_by(exposing, metered(exposing, light))
    picture = photo.develop(light, arriving, gain, rng.uniform(0.8, 3.0), rng)
    to_hand = joints_cam[[0, 5, 17]].mean(axis=0)
    cosine = abs(float(T_cam_wrist[:3, 2] @ to_hand) / float(np.linalg.norm(to_hand)))
    return View(picture, joints_px, cosine > np.cos(FRONTAL_RAD), name, shape.tone, shape.length_m)


def _depth(renderer: Renderer, lens: Lens, shot: Shot) -> Any:
    """Depth of the room (h, w), infinite where there is nothing."""
    return np.nan_to_num(renderer.depth(lens, shot), nan=np.inf)


class Finder:
    """MediaPipe's hand landmarker on single pictures, default confidences."""

    def __init__(self) -> None:
        from mediapipe.tasks.python import BaseOptions, vision

        bundle = str(models.ensure(models.HAND_LANDMARKER))
        options = vision.HandLandmarkerOptions(base_options=BaseOptions(model_asset_path=bundle), num_hands=2)
        self._landmarker = vision.HandLandmarker.create_from_options(options)

    def __enter__(self) -> Finder:
        return self

    def __exit__(self, *_: object) -> None:
        self._landmarker.close()

    def find_closely(self, picture: Any) -> Array:
        """(hands, 21, 2) px, in the whole picture and in its left and its right square."""
        height, width = picture.shape[:2]
        shift = np.array([width - height, 0])
        return np.concatenate(
            [self.find(picture), self.find(picture[:, :height]), self.find(picture[:, -height:]) + shift]
        )

    def find(self, picture: Any) -> Array:
        """(hands, 21, 2) px."""
        import mediapipe as mp

        image = mp.Image(image_format=mp.ImageFormat.SRGB, data=np.ascontiguousarray(picture))
        found = self._landmarker.detect(image).hand_landmarks
        size = np.array([picture.shape[1], picture.shape[0]])
        landmarks = [[[point.x, point.y] for point in hand] for hand in found]
        return np.array(landmarks, float).reshape(-1, 21, 2) * size - 0.5


def error(view: View, found: Array) -> float:
    """Median landmark error of the best detection, of the hand's size in the picture; infinite without any."""
    if not len(found):
        return np.inf
    size = float(np.ptp(view.joints_px, axis=0).max())
    return float(np.median(np.linalg.norm(found - view.joints_px, axis=-1), axis=1).min()) / size


def rates(found: list[tuple[View, float]]) -> tuple[float, float]:
    """Share of hits among frontal views, and among all."""
    hits = np.array([e < CLOSE for _, e in found])
    frontal = np.array([view.frontal for view, _ in found])
    return float(hits[frontal].mean()), float(hits.mean())


def real_rate(finder: Finder, folder: Path) -> tuple[int, int]:
    """Photos with a detection, photos."""
    import cv2

    files = sorted((folder / "color").glob("*.jpeg"))
    pictures = (cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB) for file in files)
    return sum(len(finder.find_closely(picture)) > 0 for picture in pictures), len(files)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--views", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--camera", choices=sorted(CAMERAS), default=None, help="default: both")
    parser.add_argument("--scene", choices=sorted(SCENES), default="kitchen")
    parser.add_argument("--save", type=Path, default=None, help="folder for a contact sheet per camera")
    args = parser.parse_args()

    with Finder() as finder:
        for name in [args.camera] if args.camera else sorted(CAMERAS):
            stream = islice(views(CAMERAS[name], args.seed, args.scene), args.views)
            seen = [(view, finder.find(view.picture), finder.find_closely(view.picture)) for view in stream]
            found = [(view, error(view, closely)) for view, _, closely in seen]
            count = sum(view.frontal for view, _ in found)
            whole = [(view, error(view, whole)) for view, whole, _ in seen]
            for looks, (frontal, every) in (("three looks", rates(found)), ("the whole picture", rates(whole))):
                print(
                    f"virtual rig, {name} camera, {args.scene}, {looks}: {100 * frontal:.1f} % of {count} frontal "
                    f"(aim 90), {100 * every:.1f} % of {len(found)} views (aim 75)"
                )
            for key in ("posture", "tone"):
                print(f"  by {key}: {_split(found, key)}")
            if args.save is not None:
                _contact_sheet(found, args.save / f"hands-{name}.png")
        photos = Path(os.environ.get("HANDCAP_DATA", "../shared/data")) / "hands" / "fpha_ego_rgbd"
        if photos.exists():
            hits, total = real_rate(finder, photos)
            print(
                f"real egocentric photos (fpha_ego_rgbd, hand with taped sensors, moving): found in {hits} of {total}"
            )
        else:
            print(f"no {photos}; set HANDCAP_DATA for the rate on real photos")


def _split(found: list[tuple[View, float]], key: str) -> str:
    groups: dict[str, list[bool]] = {}
    for view, e in found:
        groups.setdefault(str(getattr(view, key)), []).append(e < CLOSE)
    return ", ".join(f"{name} {sum(hits)}/{len(hits)}" for name, hits in sorted(groups.items()))


def _contact_sheet(found: list[tuple[View, float]], path: Path) -> None:
    """Pictures around each hand; green: a hit, red: none; a thin frame: seen from the side."""
    import cv2

    tiles = []
    for view, e in found:
        low, high = view.joints_px.min(axis=0), view.joints_px.max(axis=0)
        half = 0.8 * float((high - low).max()) + 15
        x, y = (low + high) / 2
        padded = cv2.copyMakeBorder(view.picture, 400, 400, 400, 400, cv2.BORDER_CONSTANT)
        crop = padded[int(y - half) + 400 : int(y + half) + 400, int(x - half) + 400 : int(x + half) + 400]
        tile = cv2.resize(crop, (150, 150), interpolation=cv2.INTER_AREA)
        cv2.rectangle(tile, (0, 0), (149, 149), (0, 220, 0) if e < CLOSE else (240, 0, 0), 8 if view.frontal else 2)
        tiles.append(tile)
    columns = 12
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    sheet = np.vstack([np.hstack(tiles[k : k + columns]) for k in range(0, len(tiles), columns)])
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), sheet[..., ::-1])


if __name__ == "__main__":
    main()
