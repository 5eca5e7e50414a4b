"""The grippers' tag cubes in the head's pictures, looked for while the devices are being solved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from handcap.cameras import Camera
from handcap.measure.tags import SeenTag, find_tags
from handcap.reconstruct.rig_take import Recording
from handcap.types import TagFamily

CUBE: TagFamily = "36h11"

Seen = list[tuple[int, list[SeenTag]]]
"""Stamp of a picture and the tags in it, in the order of the pictures."""


class CubeLook:
    """Tags of cubes by camera; those that were not looked for ahead are looked for when asked."""

    def __init__(self, recording: Recording, every: int, ahead: Mapping[str, tuple[Camera, Future[Seen]]]) -> None:
        self._recording, self._every, self._ahead = recording, every, ahead

    def __call__(self, camera: str, lens: Camera, every: int) -> Seen:
        """What one camera of the head saw, through this lens, in one of `every` so many pictures."""
        looked, seen = self._ahead.get(camera, (None, None))
        if seen is not None and (looked, self._every) == (lens, every):
            return seen.result()
        return _look(self._recording, camera, lens, every)


@contextmanager
def looking_for_cubes(recording: Recording, every: int, cameras: int, ahead: bool) -> Iterator[CubeLook]:
    """Look in the first `cameras` of the head, if `ahead` in a thread that begins at once."""
    rig = recording.rig
    seers = [c for c, mount in rig.cameras.items() if mount.device == "head" and c in recording.recorded]
    worn = any(tag.family == CUBE for gripper in rig.grippers.values() for tag in gripper.tags)
    with ThreadPoolExecutor(1) as pool:
        begun: dict[str, tuple[Camera, Future[Seen]]] = {}
        for camera in seers[:cameras] if ahead and worn else ():
            lens = rig.cameras[camera].camera
            begun[camera] = lens, pool.submit(_look, recording, camera, lens, every)
        try:
            yield CubeLook(recording, every, begun)
        finally:
            pool.shutdown(cancel_futures=True)


def _look(recording: Recording, camera: str, lens: Camera, every: int) -> Seen:
    return [(frame.t_ns, find_tags(frame.image, (CUBE,), lens)) for frame in recording.frames(camera, every)]
