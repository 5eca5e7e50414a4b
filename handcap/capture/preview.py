"""The head camera's live picture in a browser of this computer, the card's photo half transparent over it."""

from __future__ import annotations

import os
import threading
import time
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcap.causes import Language
from handcap.errors import DeviceError, TaskError
from handcap.session import Packet
from handcap.session.pictures import (
    PICTURE_LIMIT_PX,
    decode_picture,
    decode_video,
    is_complete,
    is_key,
    picture_size,
)

Picture = NDArray[np.uint8]

_EVERY_S = 0.25  # enough to put a cup where the photo has it
_WIDEST_PX = 640
_MOST_VIEWERS = 4
_STUCK_S = 5.0  # a browser that takes nothing for so long is let go
_BOUNDARY = "picture"
_END = f"\r\n--{_BOUNDARY}\r\n".encode()
_LATER: dict[Language, str] = {"en": "Waiting for the head camera.", "zh": "正在等待头部相机画面。"}
_TITLE: dict[Language, str] = {"en": "handcap: live picture", "zh": "handcap:实时画面"}
_PAGE = """<!doctype html><html lang="{lang}"><meta charset="utf-8"><title>{title}</title>
<style>body{{margin:0;background:#111;color:#eee;font:1.2rem sans-serif;text-align:center}}
img{{width:100%;max-height:88vh;object-fit:contain}}</style>
<p>{text}</p><img src="/live.mjpg" alt="{later}"></html>
"""


def read_photo(path: Path) -> Picture:
    """(h, w, 3) RGB, the right way up: phones store how they were held. Raises TaskError."""
    import cv2

    try:
        data = path.read_bytes()
    except OSError as error:
        raise TaskError(f"cannot be read ({error.strerror})", where=path, mend="copy the picture again") from error
    if decode_picture(data, grey=True) is None:  # checks its size and its end
        raise TaskError("does not decode as a picture", where=path, mend="save it again as JPEG or PNG")
    picture: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return np.ascontiguousarray(picture[..., ::-1])


def decode_live(data: bytes) -> Picture | None:
    """A JPEG or an H.264 key frame, (h, w, 3) RGB; a large JPEG at half its size, which is much quicker."""
    import cv2

    if not data.startswith(b"\xff\xd8"):
        return next((picture for _, picture in decode_video([Packet(0, "h264", data, False)], grey=False)), None)
    size = picture_size(data)
    if size is None or not 0 < size[0] * size[1] <= PICTURE_LIMIT_PX or not is_complete(data):
        return None
    flags = cv2.IMREAD_REDUCED_COLOR_2 if size[0] > 1.5 * _WIDEST_PX else cv2.IMREAD_COLOR
    picture: Any = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    return None if picture is None else np.ascontiguousarray(picture[..., ::-1])


def blend(live: Picture, photo: Picture | None) -> Picture:
    """The live picture, at most 640 wide, and half as much again of the photo, which fills it: its rims are cut.

    Args:
        live, photo: (h, w, 3) RGB.
    """
    import cv2

    scale = min(1.0, _WIDEST_PX / live.shape[1])
    width, height = max(round(live.shape[1] * scale), 1), max(round(live.shape[0] * scale), 1)
    small = cv2.resize(live, (width, height), interpolation=cv2.INTER_AREA)
    if photo is None:
        return np.asarray(small, np.uint8)
    grown = max(width / photo.shape[1], height / photo.shape[0])
    wide, high = max(round(photo.shape[1] * grown), width), max(round(photo.shape[0] * grown), height)
    fitted = cv2.resize(photo, (wide, high), interpolation=cv2.INTER_AREA)
    top, left = (high - height) // 2, (wide - width) // 2
    return np.asarray(cv2.addWeighted(small, 0.5, fitted[top : top + height, left : left + width], 0.5, 0), np.uint8)


class Preview:
    """Serves the newest picture, a few times a second, to browsers on this computer alone. Use it in a `with`.

    It keeps one picture and drops what comes while it is busy; without a browser it costs a comparison a picture.

    Args:
        camera: to show.
        photo: over it, (h, w, 3) RGB.
        text: above it.
        lang: of the page.

    Raises:
        DeviceError: no port is free.
    """

    def __init__(self, camera: str, photo: Picture | None = None, text: str = "", lang: Language = "en") -> None:
        self.camera, self.photo, self.text = camera, photo, text
        self.lang: Language = lang
        self._changed = threading.Condition()
        self._drawing = threading.Lock()
        self._newest: bytes | None = None
        self._drawn: tuple[int, bytes | None] | None = None
        self._count = 0
        self._viewers = 0
        self._due_s = 0.0
        self._closing = False
        try:
            self._server = _Server(("127.0.0.1", 0), self)
        except OSError as error:
            what = f"the preview cannot be served ({error.strerror})"
            raise DeviceError(what, mend="leave --preview away, or close other programs") from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="handcap preview", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/"

    def take_in(self, camera: str, data: bytes) -> None:
        """A JPEG, or an H.264 access unit, of which key frames are shown. Returns at once; from any thread."""
        if self._viewers == 0 or camera != self.camera:
            return
        now_s = time.monotonic()
        if now_s < self._due_s or not (data.startswith(b"\xff\xd8") or is_key(data)):
            return
        self._due_s = now_s + _EVERY_S
        with self._changed:
            self._newest, self._count = data, self._count + 1
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Preview:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # For those who look.

    def page(self) -> bytes:
        words = {"title": _TITLE[self.lang], "later": _LATER[self.lang], "text": self.text}
        return _PAGE.format(lang=self.lang, **{key: escape(word) for key, word in words.items()}).encode()

    def join(self) -> bool:
        """Begin to look; False where enough do already."""
        with self._changed:
            if self._viewers >= _MOST_VIEWERS:
                return False
            self._viewers += 1
            return True

    def leave(self) -> None:
        with self._changed:
            self._viewers -= 1

    def next_after(self, count: int) -> tuple[int, bytes] | None:
        """The first picture after a count, as a JPEG to be shown, and its own count; None when it is all over."""
        while (newer := self._newer(count)) is not None:
            count, data = newer
            shown = self._drawn_once(count, data)
            if shown is not None:
                return count, shown
        return None

    def _newer(self, count: int) -> tuple[int, bytes] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closing or self._count > count)
            return None if self._closing or self._newest is None else (self._count, self._newest)

    def _drawn_once(self, count: int, data: bytes) -> bytes | None:
        """The same for all who look."""
        with self._drawing:
            if self._drawn is None or self._drawn[0] != count:
                self._drawn = count, self._draw(data)
            return self._drawn[1]

    def _draw(self, data: bytes) -> bytes | None:
        import cv2

        live = decode_live(data)
        if live is None:
            return None
        ok, drawn = cv2.imencode(".jpg", blend(live, self.photo)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])
        return drawn.tobytes() if ok else None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, at: tuple[str, int], preview: Preview) -> None:
        self.preview = preview
        super().__init__(at, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away is no error."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride]
    timeout = _STUCK_S

    def do_GET(self) -> None:
        port = self.server.server_port
        if self.headers.get("Host") not in (f"127.0.0.1:{port}", f"localhost:{port}"):
            self.send_error(HTTPStatus.FORBIDDEN)  # another site's name for this computer: its page must not look
        elif self.path == "/":
            self._send("text/html; charset=utf-8", self.server.preview.page())
        elif self.path == "/live.mjpg":
            self._stream()
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def _send(self, kind: str, body: bytes) -> None:
        self.send_response(HTTPStatus.OK)
        self._headers(kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _headers(self, kind: str) -> None:
        self.send_header("Content-Type", kind)
        self.send_header("Cache-Control", "no-store")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Content-Security-Policy", "default-src 'self'; style-src 'unsafe-inline'")

    def _stream(self) -> None:
        preview = self.server.preview
        if not preview.join():
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE)
            return
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)  # of this thread: recording comes first
            self.send_response(HTTPStatus.OK)
            self._headers(f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
            self.end_headers()
            self.wfile.write(_END)
            count = 0
            while (newer := preview.next_after(count)) is not None:
                count, picture = newer
                head = f"Content-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                self.wfile.write(head.encode() + picture + _END)  # browsers show a picture when they see its end
        finally:
            preview.leave()

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody asked."""
