"""MediaPipe's hand landmarker behind the seam."""

from __future__ import annotations

from typing import Any

import numpy as np

from handcap import models
from handcap.reconstruct.hands.detector import Landmarks, Picture

_RIGHT = "Right"  # what the network calls a right hand in a picture that is not mirrored
_FOLLOWED = 0.3  # confidence asked of a hand that is known to be there; 0.5 is MediaPipe's own


class MediapipeDetector:
    """Palm detector and landmark network of MediaPipe; close it after use.

    A track is followed in video mode: its landmarks place the next region, and palms are looked for only when these
    are lost. Raises ModelError when the weights are not fetched.
    """

    def __init__(self) -> None:
        self._weights = str(models.path(models.HAND_LANDMARKER))
        self._looker = self._made(video=False, hands=2)
        self._followers: dict[str, tuple[Any, int]] = {}

    def __enter__(self) -> MediapipeDetector:
        return self

    def __exit__(self, *_: object) -> None:
        self._looker.close()
        for follower, _ms in self._followers.values():
            follower.close()

    def look(self, picture: Picture) -> list[Landmarks]:
        return _landmarks(self._looker.detect(_image(picture)), picture)

    def follow(self, track: str, picture: Picture, t_ns: int) -> Landmarks | None:
        follower, last_ms = self._followers.get(track, (None, -1))
        if follower is None:
            follower = self._made(video=True, hands=1)
        at_ms = max(t_ns // 1_000_000, last_ms + 1)
        self._followers[track] = follower, at_ms
        found = _landmarks(follower.detect_for_video(_image(picture), at_ms), picture)
        return found[0] if found else None

    def _made(self, video: bool, hands: int) -> Any:
        from mediapipe.tasks.python import BaseOptions, vision

        mode = vision.RunningMode.VIDEO if video else vision.RunningMode.IMAGE
        sure = _FOLLOWED if video else 0.5
        options = vision.HandLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=self._weights),
            running_mode=mode,
            num_hands=hands,
            min_hand_detection_confidence=sure,
            min_hand_presence_confidence=sure,
            min_tracking_confidence=sure,
        )
        return vision.HandLandmarker.create_from_options(options)


def _image(picture: Picture) -> Any:
    import mediapipe as mp

    return mp.Image(image_format=mp.ImageFormat.SRGB, data=np.ascontiguousarray(picture))


def _landmarks(result: Any, picture: Picture) -> list[Landmarks]:
    size = np.array([picture.shape[1], picture.shape[0]])
    out = []
    for points, shape, names in zip(result.hand_landmarks, result.hand_world_landmarks, result.handedness, strict=True):
        name = names[0]
        right = name.score if name.category_name == _RIGHT else 1 - name.score
        pixel = np.array([[p.x, p.y] for p in points]) * size - 0.5
        out.append(Landmarks(pixel, np.array([[p.x, p.y, p.z] for p in shape]), float(right)))
    return out
