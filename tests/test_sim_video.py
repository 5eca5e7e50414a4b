"""The virtual camera's H.264 is what a session stores and reads back."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from handcap import session
from handcap.cameras import PinholeRadtan
from handcap.session.pictures import Packet, decode_video
from handcap.sim.video import H264Encoder
from handcap.types import Device, ImuModel, MountedCamera, Rig

WIDTH, HEIGHT, FRAMES = 320, 240, 25


def moving_scene() -> list[NDArray[np.uint8]]:
    texture = np.random.default_rng(0).uniform(40, 210, (HEIGHT + 80, WIDTH + 80)).astype(np.float32)
    texture = cv2.GaussianBlur(texture, (0, 0), 3)
    texture = (50 * (texture - texture.mean()) / texture.std() + 125).clip(10, 245)
    texture = (texture[..., None] * [1.0, 0.9, 0.8]).astype(np.uint8)
    return [np.ascontiguousarray(texture[k : k + HEIGHT, 2 * k : 2 * k + WIDTH]) for k in range(FRAMES)]


def kinds(unit: bytes) -> list[int]:
    """NAL unit types of an Annex B access unit."""
    found, at = [], unit.find(b"\0\0\1")
    while at >= 0:
        found.append(unit[at + 3] & 31)
        at = unit.find(b"\0\0\1", at + 3)
    return found


def encoded(pictures: list[NDArray[np.uint8]], key_at: int | None = None, quality: float = 20.0) -> list[bytes]:
    encoder = H264Encoder(WIDTH, HEIGHT, 30.0, key_every=10, quality=quality)
    return [encoder.encode(picture, key=k == key_at) for k, picture in enumerate(pictures)]


def test_key_frames_carry_their_parameter_sets_and_come_when_due() -> None:
    units = encoded(moving_scene())
    keys = [k for k, unit in enumerate(units) if 5 in kinds(unit)]
    assert keys == [0, 10, 20]
    for k, unit in enumerate(units):
        assert unit.startswith((b"\0\0\0\1", b"\0\0\1"))
        assert ({7, 8} <= set(kinds(unit))) == (k in keys)
        assert kinds(unit).count(1 if k not in keys else 5) == 1  # one slice: one picture a unit


def test_a_key_frame_comes_when_asked_for() -> None:
    units = encoded(moving_scene(), key_at=4)
    assert 5 in kinds(units[4]) and {7, 8} <= set(kinds(units[4]))


def test_the_same_pictures_give_the_same_bytes() -> None:
    assert encoded(moving_scene()) == encoded(moving_scene())


def test_a_session_gives_the_pictures_back_in_order(tmp_path: Path) -> None:
    pictures = moving_scene()
    camera = PinholeRadtan(WIDTH, HEIGHT, (200.0, 200.0, 159.5, 119.5, 0, 0, 0, 0))
    rig = Rig(
        "video",
        {"head": Device(ImuModel(200.0, 1e-4, 1e-3, 1e-5, 1e-4))},
        {"head": MountedCamera("head", camera, np.eye(4))},
    )
    meta = session.SessionMeta(
        id="video",
        created="2026-01-01T00:00:00Z",
        origin="simulation",
        clock=session.SessionClock(kind="simulation", utc_offset_ns=0),
    )
    stamps = [1_000_000_000 + k * 33_333_333 for k in range(FRAMES)]
    with session.create(tmp_path / "s", meta, rig) as writer, writer.start_take() as take:
        for t_ns, unit in zip(stamps, encoded(pictures), strict=True):
            take.add_video("head", t_ns, unit)
    frames = list(session.read(tmp_path / "s").take("0001").frames("head", grey=False))
    assert [frame.t_ns for frame in frames] == stamps
    for k, frame in enumerate(frames):
        own, other = (rms(frame.image, pictures[i]) for i in (k, k - 1 if k else 1))
        assert own < other / 4


def rms(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Difference in brightness; colour is stored at half resolution."""
    return float(np.sqrt(np.mean((a.astype(float).mean(axis=-1) - b.astype(float).mean(axis=-1)) ** 2)))


def test_better_quality_costs_bytes_and_saves_error() -> None:
    pictures = moving_scene()[:5]
    sizes, errors = [], []
    for quality in (10.0, 20.0, 35.0):
        units = encoded(pictures, quality=quality)
        packets = [Packet(k, "h264", unit) for k, unit in enumerate(units)]
        decoded = [image for _, image in decode_video(packets, grey=False) if image is not None]
        sizes.append(sum(map(len, units)))
        errors.append(np.mean([rms(image, picture) for image, picture in zip(decoded, pictures, strict=True)]))
    assert sizes == sorted(sizes, reverse=True) and errors == sorted(errors)


def test_odd_sizes_are_refused() -> None:
    with pytest.raises(AssertionError, match="half resolution"):
        H264Encoder(321, 240, 30.0)
