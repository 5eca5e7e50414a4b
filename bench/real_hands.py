"""Real hands, beside MediaPipe itself: photos with joints marked by people, and a video of one hand.

PCK@0.2: the share of marked joints found within 0.2 of the longer side of the hand's box. Both run the same networks:
MediaPipe as it comes, on the whole picture, and handcap's follower, which places the landmark network itself. The lens
of none of these is known; the focal length is taken to be the picture's longer side, which matters little here.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from handcap import models
from handcap.cameras import PinholeRadtan
from handcap.geometry import Array
from handcap.reconstruct.hands.follow import Follower, FollowParams, Moment
from handcap.reconstruct.hands.mediapipe_detector import MediapipeDetector
from handcap.types import SIDES, MountedCamera

PHOTOS = ("freihand/test_freihand.json", "onehand10k/test_onehand10k.json")
VIDEO = "dex_retargeting/example/vector_retargeting/data/human_hand_video.mp4"
PCK = 0.2
LEAST_TRACKED = 0.99


def mount(picture: Any) -> MountedCamera:
    height, width = picture.shape[:2]
    focal = float(max(height, width))
    lens = PinholeRadtan(width, height, (focal, focal, (width - 1) / 2, (height - 1) / 2, 0.0, 0.0, 0.0, 0.0))
    return MountedCamera(device="head", camera=lens, T_imu_cam=np.eye(4), dt_imu_cam_s=0.0)


def followed(detector: MediapipeDetector, picture: Any) -> list[Array]:
    """Joints (21, 2) px of every hand that handcap finds."""
    camera = mount(picture)
    follower = Follower(detector, {"head": camera}, SIDES, 1)
    follower.step(Moment(0, 0, {"head": picture}, np.eye(4)))
    return [camera.camera.project(sighting.rays_cam)[0] for sighting in follower.seen[0].values()]


def photos(folder: Path, detector: MediapipeDetector) -> None:
    finders: dict[str, Callable[[Any], list[Array]]] = {
        "MediaPipe": lambda picture: [hand.pixel for hand in detector.look(picture)],
        "handcap": lambda picture: followed(detector, picture),
    }
    for name in PHOTOS:
        marked = json.loads((folder / name).read_text())
        files = {image["id"]: image["file_name"] for image in marked["images"]}
        held = {finder: [0, 0, 0] for finder in finders}  # joints near, joints marked, hands found
        for hand in marked["annotations"]:
            photo = cv2.imread(str((folder / name).parent / files[hand["image_id"]]))
            assert photo is not None, f"{files[hand['image_id']]} cannot be read"
            picture = cv2.cvtColor(photo, cv2.COLOR_BGR2RGB)
            points = np.array(hand["keypoints"], float).reshape(21, 3)
            known, limit = points[:, 2] > 0, PCK * max(hand["bbox"][2:])
            for finder, find in finders.items():
                near = [(np.linalg.norm(px - points[:, :2], axis=1) < limit)[known].sum() for px in find(picture)]
                held[finder][0] += max(near, default=0)
                held[finder][1] += int(known.sum())
                held[finder][2] += bool(near)
        shown = ", ".join(
            f"{finder} {100 * near / of:.1f} % ({hands} of {len(marked['annotations'])} hands found)"
            for finder, (near, of, hands) in held.items()
        )
        print(f"{name.split('/')[0]} PCK@{PCK}: {shown}", flush=True)


def video(file: Path, detector: MediapipeDetector) -> None:
    follower: Follower | None = None
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        for k, frame in enumerate(container.decode(stream)):
            picture = frame.to_ndarray(format="rgb24")
            if follower is None:
                follower = Follower(detector, {"head": mount(picture)}, SIDES, stream.frames, FollowParams())
            follower.step(Moment(k, round(1e9 * float(frame.time)), {"head": picture}, np.eye(4)))
    assert follower is not None
    sides = [{side for _, side in row} for row in follower.seen]
    first = next(iter(next(s for s in sides if s)))
    tracked = sum(bool(s) for s in sides)
    print(
        f"video: {tracked} of {len(sides)} pictures tracked ({100 * tracked / len(sides):.1f} %, floor "
        f"{100 * LEAST_TRACKED:g}), other side {sum(s not in ({first}, set()) for s in sides)} times"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    data = Path(os.environ.get("HANDCAP_DATA", Path(__file__).parents[2] / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=data / "hands")
    args = parser.parse_args()
    if not args.data.is_dir():
        print(f"skipped: no recordings at {args.data}; name their folder with --data or HANDCAP_DATA")
        return
    models.ensure(models.HAND_LANDMARKER)
    with MediapipeDetector() as detector:
        photos(args.data / "joints2d", detector)
        video(args.data / VIDEO, detector)


if __name__ == "__main__":
    main()
