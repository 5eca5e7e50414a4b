"""MediaPipe's two hand networks behind the seam.

Its palm detector looks for hands through MediaPipe itself. Its landmark network is run by itself: MediaPipe places the
next region by its own last answer, and an answer that has collapsed then keeps itself alive; here the caller places it.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import numpy as np

from handcap import models
from handcap.reconstruct.hands.detector import JOINTS, Landmarks, Picture

_RIGHT = "Right"  # what the network calls a right hand in a picture that is not mirrored
_LANDMARKS = "hand_landmarks_detector.tflite"  # member of the bundle
# Outputs of the landmark network (model card "MediaPipe Hands", 2021): px of its input, belief in a hand, in a right
# one, and the shape in m.
_PIXEL, _PRESENCE, _RIGHTNESS, _SHAPE = "Identity", "Identity_1", "Identity_2", "Identity_3"


class MediapipeDetector:
    """Palm detector and landmark network of MediaPipe; close it after use.

    Raises ModelError when the weights are not fetched.
    """

    def __init__(self) -> None:
        weights = models.path(models.HAND_LANDMARKER)
        with zipfile.ZipFile(weights) as bundle:
            self._landmarks = bundle.read(_LANDMARKS)
        self._of_thread = threading.local()
        with _unheard():
            self._looker = _looker(str(weights))
            self.look(np.zeros((192, 192, 3), np.uint8))
            self._network()

    def __enter__(self) -> MediapipeDetector:
        return self

    def __exit__(self, *_: object) -> None:
        self._looker.close()

    def look(self, picture: Picture) -> list[Landmarks]:
        import mediapipe as mp

        image: Any = mp.Image(image_format=mp.ImageFormat.SRGB, data=np.ascontiguousarray(picture))
        result = self._looker.detect(image)
        size = np.array([picture.shape[1], picture.shape[0]])
        out: list[Landmarks] = []
        for points, shape, names in zip(
            result.hand_landmarks, result.hand_world_landmarks, result.handedness, strict=True
        ):
            name = names[0]
            right = name.score if name.category_name == _RIGHT else 1 - name.score
            pixel = np.array([[p.x, p.y] for p in points]) * size - 0.5
            out.append(Landmarks(pixel, np.array([[p.x, p.y, p.z] for p in shape]), float(right)))
        return out

    def refine(self, picture: Picture) -> Landmarks:
        import cv2

        network = self._network()
        _, height, width, _ = network.get_input_details()[0]["shape"]
        scale = np.array([picture.shape[1] / width, picture.shape[0] / height])
        if picture.shape[:2] != (height, width):
            picture = cv2.resize(picture, (int(width), int(height)), interpolation=cv2.INTER_AREA)
        network.set_tensor(network.get_input_details()[0]["index"], picture[None].astype(np.float32) / 255)
        network.invoke()
        out = {each["name"]: network.get_tensor(each["index"]) for each in network.get_output_details()}
        pixel = (np.asarray(out[_PIXEL], float).reshape(JOINTS, 3)[:, :2]) * scale - 0.5
        right, presence = float(out[_RIGHTNESS][0, 0]), float(out[_PRESENCE][0, 0])
        return Landmarks(pixel, np.asarray(out[_SHAPE], float).reshape(JOINTS, 3), right, presence)

    def _network(self) -> Any:
        """The landmark network of the calling thread."""
        if not hasattr(self._of_thread, "network"):
            from ai_edge_litert.interpreter import Interpreter

            # One thread each: sums of several depend on their number in the last digits.
            self._of_thread.network = Interpreter(model_content=self._landmarks, num_threads=1)
            self._of_thread.network.allocate_tensors()
        return self._of_thread.network


@contextmanager
def _unheard() -> Generator[None]:
    """Both libraries write warnings about themselves to the terminal, past every setting, until they have run once.

    What they said is passed on if they fail.
    """
    if sys.stderr is None:  # started without one
        yield
        return
    sys.stderr.flush()
    terminal = os.dup(2)
    said = b""
    try:
        with tempfile.TemporaryFile() as ear:
            os.dup2(ear.fileno(), 2)
            try:
                yield
            except BaseException:
                ear.seek(0)
                said = ear.read()
                raise
            finally:
                os.dup2(terminal, 2)
    finally:
        if said:
            os.write(terminal, said)
        os.close(terminal)


def _looker(weights: str) -> Any:
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.HandLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=weights),
        running_mode=vision.RunningMode.IMAGE,
        num_hands=2,
    )
    return vision.HandLandmarker.create_from_options(options)
