"""A camera in the network: whoever asks gets its pictures over HTTP, as cheap cameras and telephones send them.

MJPEG goes out as `multipart/x-mixed-replace`, H.264 in an MPEG transport stream. It can do what such cameras do: fall
silent, go away, come back.
"""

from __future__ import annotations

import io
import threading
import time
from contextlib import suppress
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, Full, Queue
from typing import Any, Literal

from handcap.clock import NS_PER_S

_BOUNDARY = b"picture"
_WAITING_MOST = 64


class NetworkCamera:
    """Serves pictures until it is closed. Use it in a `with`.

    Args:
        format: of what `show` is given.
        size: (width, height), pixels.
        rate_hz: pictures a second; of a transport stream's stamps only.

    Attributes:
        url: where it is.
        silent: stays connected and sends nothing.
    """

    def __init__(
        self, format: Literal["mjpeg", "h264"] = "mjpeg", size: tuple[int, int] = (640, 480), rate_hz: float = 30.0
    ) -> None:
        self.format, self.size, self.rate_hz = format, size, rate_hz
        self.silent = False
        self._listeners: set[Queue[tuple[int, bytes] | None]] = set()
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None
        self._port = 0
        self.switch_on()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/{'stream.mjpg' if self.format == 'mjpeg' else 'stream.ts'}"

    @property
    def listeners(self) -> int:
        """How many watch."""
        with self._lock:
            return len(self._listeners)

    def show(self, data: bytes, due_ns: int = 0) -> None:
        """Send a picture to everybody, not before `due_ns` on the monotonic clock."""
        with self._lock:
            for listener in () if self.silent else tuple(self._listeners):
                with suppress(Full):  # a slow one misses pictures
                    listener.put_nowait((due_ns, data))

    def switch_on(self) -> None:
        """Be there, on the port it had before."""
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with suppress(OSError):
                    camera._serve(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._server.daemon_threads = True
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="network camera", daemon=True).start()

    def switch_off(self) -> None:
        """Be gone: connections end, new ones are refused."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        with self._lock:
            for listener in self._listeners:
                with suppress(Full):
                    listener.put_nowait(None)
            self._listeners.clear()

    def close(self) -> None:
        self.switch_off()

    def __enter__(self) -> NetworkCamera:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        kind = f"multipart/x-mixed-replace; boundary={_BOUNDARY.decode()}" if self.format == "mjpeg" else "video/mp2t"
        request.send_response(200)
        request.send_header("Content-Type", kind)
        request.end_headers()
        queue: Queue[tuple[int, bytes] | None] = Queue(_WAITING_MOST)
        with self._lock:
            self._listeners.add(queue)
        send = _parts(request.wfile) if self.format == "mjpeg" else _transport_stream(request.wfile, self)
        try:
            while self._server is not None:
                try:
                    item = queue.get(timeout=0.2)
                except Empty:
                    continue
                if item is None:
                    return
                time.sleep(max(item[0] - time.monotonic_ns(), 0) / NS_PER_S)
                send(item[1])
        finally:
            with self._lock:
                self._listeners.discard(queue)


def _parts(out: Any) -> Any:
    def send(jpeg: bytes) -> None:
        head = b"--%s\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % (_BOUNDARY, len(jpeg))
        out.write(head + jpeg + b"\r\n")
        out.flush()

    return send


class _Unseekable(io.RawIOBase):
    """What PyAV may write to."""

    def __init__(self, out: Any) -> None:
        self._out = out

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._out.write(data)
        self._out.flush()
        return len(data)


def _transport_stream(out: Any, camera: NetworkCamera) -> Any:
    import av

    from handcap.session.pictures import is_key

    muxer = av.open(_Unseekable(out), "w", format="mpegts", options={"flush_packets": "1"})
    time_base = Fraction(1, 90_000)
    stream = muxer.add_mux_stream(
        "h264", rate=Fraction(camera.rate_hz).limit_denominator(1001), width=camera.size[0], height=camera.size[1]
    )
    count = 0

    def send(unit: bytes) -> None:
        nonlocal count
        packet = av.Packet(unit)
        packet.stream, packet.time_base, packet.is_keyframe = stream, time_base, is_key(unit)
        packet.pts = packet.dts = round(count * 90_000 / camera.rate_hz)
        count += 1
        muxer.mux_one(packet)

    return send
