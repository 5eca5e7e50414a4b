"""A network camera that speaks RTSP (RFC 2326): H.264 in RTP packets (RFC 6184), interleaved on its TCP connection."""

from __future__ import annotations

import struct
import threading
from contextlib import suppress
from queue import Empty, SimpleQueue
from socketserver import StreamRequestHandler, ThreadingTCPServer

from handcap.devices.annex_b import nal_units

_MOST = 1400  # bytes of a unit in one RTP packet
_SDP = """v=0
o=- 0 0 IN IP4 127.0.0.1
s=camera
c=IN IP4 127.0.0.1
t=0 0
m=video 0 RTP/AVP 96
a=rtpmap:96 H264/90000
a=fmtp:96 packetization-mode=1
a=control:track
""".replace("\n", "\r\n")


class RtspCamera:
    """As `NetworkCamera`: what it is shown goes to everybody who plays it."""

    def __init__(self, rate_hz: float) -> None:
        self._listeners: list[SimpleQueue[bytes | None]] = []
        self._step = round(90_000 / rate_hz)
        camera = self

        class Handler(StreamRequestHandler):
            def handle(self) -> None:
                with suppress(OSError):
                    camera._talk(self)

        ThreadingTCPServer.daemon_threads = True
        self._server = ThreadingTCPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self._server.server_address[1]}/live"

    def show(self, data: bytes) -> None:
        for listener in self._listeners:
            listener.put(data)

    def close(self) -> None:
        for listener in self._listeners:
            listener.put(None)
        self._server.shutdown()
        self._server.server_close()

    def _talk(self, request: StreamRequestHandler) -> None:
        while line := request.rfile.readline().decode().strip():
            method = line.split(" ")[0]
            headers: dict[str, str] = {}
            while text := request.rfile.readline().decode().strip():
                name, _, value = text.partition(":")
                headers[name.lower()] = value.strip()
            more, body = "", ""
            if method == "OPTIONS":
                more = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
            elif method == "DESCRIBE":
                more, body = f"Content-Type: application/sdp\r\nContent-Length: {len(_SDP)}\r\n", _SDP
            elif method == "SETUP":
                more = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
            session = "" if method in ("OPTIONS", "DESCRIBE") else "Session: 1\r\n"
            answer = f"RTSP/1.0 200 OK\r\nCSeq: {headers['cseq']}\r\n{session}{more}\r\n{body}"
            request.wfile.write(answer.encode())
            if method == "PLAY":
                self._play(request)
                return

    def _play(self, request: StreamRequestHandler) -> None:
        queue: SimpleQueue[bytes | None] = SimpleQueue()
        self._listeners.append(queue)
        seq = stamp = 0
        while True:
            try:
                unit = queue.get(timeout=5)
            except Empty:
                return
            if unit is None:
                return
            parts = [part for _, begin, end in nal_units(unit) for part in _payloads(unit[begin:end])]
            stamp += self._step
            for k, part in enumerate(parts):
                last = 0x80 * (k == len(parts) - 1)
                packet = struct.pack(">BBHII", 0x80, 96 | last, seq & 0xFFFF, stamp, 7) + part
                request.wfile.write(struct.pack(">cBH", b"$", 0, len(packet)) + packet)
                seq += 1


def _payloads(nal: bytes) -> list[bytes]:
    """A unit as it is, or in fragments (FU-A)."""
    if len(nal) <= _MOST:
        return [nal]
    head, body = nal[0], nal[1:]
    pieces = [body[at : at + _MOST] for at in range(0, len(body), _MOST)]
    return [
        bytes([(head & 0xE0) | 28, (head & 0x1F) | 0x80 * (k == 0) | 0x40 * (k == len(pieces) - 1)]) + piece
        for k, piece in enumerate(pieces)
    ]
