"""The preview: what a browser on this computer gets is the live picture and the photo, half and half."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from recording import RIG

from handcap.capture.preview import Preview, blend, read_photo
from handcap.capture.watch import Watch
from handcap.errors import TaskError


def _scene(shift: int = 0) -> np.ndarray:
    """(480, 640, 3) RGB: a few soft blobs of colour."""
    small = np.random.default_rng(3 + shift).integers(0, 255, (6, 8, 3), np.uint8)
    return cv2.resize(small, (640, 480), interpolation=cv2.INTER_CUBIC)


def _jpeg(picture: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


@pytest.fixture
def preview() -> Iterator[Preview]:
    with Preview("head", _scene(1), "Cup <left>", "en") as shown:
        yield shown


class Browser:
    """Reads the live pictures of a preview."""

    def __init__(self, preview: Preview) -> None:
        self._stream = http.client.HTTPConnection(preview.address.split("/")[2], timeout=20)
        self._stream.request("GET", "/live.mjpg")
        self.response = self._stream.getresponse()

    def picture(self) -> np.ndarray:
        """The next one, RGB."""
        length = None
        while True:
            line = self.response.fp.readline().strip()
            if line.startswith(b"Content-Length: "):
                length = int(line.split()[-1])
            elif not line and length is not None:
                data = self.response.fp.read(length)
                return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]

    def close(self) -> None:
        self.response.close()
        self._stream.close()


def _shown(preview: Preview, *pictures: bytes) -> np.ndarray:
    """What a browser gets that looks while a camera sends these again and again."""
    browser = Browser(preview)
    over = threading.Event()

    def camera() -> None:
        k = 0
        while not over.wait(0.03):
            preview.take_in("head", pictures[k % len(pictures)])
            k += 1

    sender = threading.Thread(target=camera)
    sender.start()
    try:
        return browser.picture()
    finally:
        over.set()
        sender.join()
        browser.close()


def test_the_served_picture_is_half_live_and_half_photo(preview: Preview) -> None:
    shown = _shown(preview, _jpeg(_scene()))
    expected = (_scene().astype(float) + _scene(1)) / 2
    assert shown.shape == (480, 640, 3)
    assert np.abs(shown - expected).mean() < 4
    assert np.abs(shown - _scene().astype(float)).mean() > 20


def test_of_h264_the_key_frames_are_shown(preview: Preview) -> None:
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 640, 480, "yuv420p"
    encoder.time_base = Fraction(1, 30)
    encoder.options = {
        "tune": "zerolatency",
        "bf": "0",
        "g": "4",
        "crf": "10",
        "x264-params": "repeat-headers=1:annexb=1",
    }
    frame = av.VideoFrame.from_ndarray(_scene(), format="rgb24")
    units: list[bytes] = []
    for k in range(4):
        frame.pts = k
        units += [bytes(packet) for packet in encoder.encode(frame)]
    shown = _shown(preview, *units)
    assert np.abs(shown - (_scene().astype(float) + _scene(1)) / 2).mean() < 8


def test_a_photo_of_another_shape_fills_the_picture_without_being_stretched() -> None:
    wide = np.zeros((100, 400, 3), np.uint8)
    wide[:, 180:220] = 255  # 40 of 400 across the middle
    mixed = blend(np.zeros((480, 640, 3), np.uint8), wide)
    row = mixed[240, :, 0] > 64
    assert abs(int(row.sum()) - 40 * 4.8) < 6
    assert abs(np.flatnonzero(row).mean() - 319.5) < 2


def test_a_large_picture_is_made_small_and_without_a_photo_it_is_itself() -> None:
    assert blend(np.full((720, 1280, 3), 7, np.uint8), None).shape == (360, 640, 3)
    np.testing.assert_array_equal(blend(_scene(), None), _scene())


def test_pictures_of_other_cameras_and_broken_ones_are_left_out(preview: Preview) -> None:
    browser = Browser(preview)
    for _ in range(3):
        preview.take_in("left", _jpeg(_scene(5)))
        preview.take_in("head", _jpeg(_scene())[:2000])
        time.sleep(0.3)
    preview.take_in("head", _jpeg(_scene()))
    assert np.abs(browser.picture() - (_scene().astype(float) + _scene(1)) / 2).mean() < 4
    browser.close()


def test_nobody_looking_costs_no_work_and_a_busy_camera_is_thinned(preview: Preview, monkeypatch) -> None:
    drawn: list[int] = []
    whole = preview._draw
    monkeypatch.setattr(preview, "_draw", lambda data: drawn.append(1) or whole(data))
    picture = _jpeg(_scene())
    for _ in range(200):
        preview.take_in("head", picture)
    assert not drawn
    _shown(preview, picture)
    begun = time.monotonic()
    browser = Browser(preview)
    while time.monotonic() < begun + 1.5:
        preview.take_in("head", picture)
        time.sleep(0.002)
    browser.close()
    assert len(drawn) <= 2 + 1.5 / 0.25 + 2


def test_only_this_computer_is_served_and_only_under_its_own_name(preview: Preview) -> None:
    host = preview.address.split("/")[2]
    assert host.startswith("127.0.0.1:")
    connection = http.client.HTTPConnection(host, timeout=10)
    for name, status in ((host, 200), (host.replace("127.0.0.1", "localhost"), 200), ("evil.example", 403)):
        connection.request("GET", "/", headers={"Host": name})
        response = connection.getresponse()
        body = response.read()
        assert response.status == status
        if status == 200:
            assert b"Cup &lt;left&gt;" in body and b"/live.mjpg" in body
            assert response.getheader("Cache-Control") == "no-store"
        connection.close()
    connection.request("GET", "/../etc/passwd", headers={"Host": host})
    assert connection.getresponse().status == 404
    connection.close()


def test_too_many_browsers_are_told_so_and_one_that_left_makes_room(preview: Preview) -> None:
    browsers = [Browser(preview) for _ in range(5)]
    assert [browser.response.status for browser in browsers] == [200, 200, 200, 200, 503]
    browsers.pop(0).close()
    until = time.monotonic() + 20
    while time.monotonic() < until:
        preview.take_in("head", _jpeg(_scene()))  # noticed at the next picture
        again = Browser(preview)
        browsers.append(again)
        if again.response.status == 200:
            break
        time.sleep(0.3)
    assert browsers[-1].response.status == 200
    for browser in browsers:
        browser.close()


def test_it_closes_while_somebody_looks() -> None:
    preview = Preview("head", None)
    host, port = preview.address.split("/")[2].split(":")
    browser = Browser(preview)
    preview.close()
    assert browser.response.fp.read().strip() == b"--picture"
    browser.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=5)


def test_a_watch_hands_over_pictures_before_any_take(preview: Preview) -> None:
    watch = Watch([], RIG.cameras)
    came: list[tuple[str, bytes]] = []
    watch.viewer = lambda camera, data: came.append((camera, data))
    watch.picture("head", 1, b"\xff\xd8abc", "jpeg", None)
    watch.close()
    assert came == [("head", b"\xff\xd8abc")]


def test_a_photo_of_a_phone_held_upright_is_shown_upright(tmp_path: Path) -> None:
    turned = b"\xff\xe1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    data = _jpeg(_scene())
    (tmp_path / "a.jpg").write_bytes(data[:2] + turned + data[2:])
    photo = read_photo(tmp_path / "a.jpg")
    assert np.abs(photo - np.rot90(_scene(), -1).astype(float)).mean() < 4


def test_a_photo_that_does_not_decode_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(_jpeg(_scene())[:500])
    with pytest.raises(TaskError, match="does not decode"):
        read_photo(tmp_path / "a.jpg")
