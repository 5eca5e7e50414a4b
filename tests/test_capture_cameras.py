"""Cameras of the network and of this computer: their pictures come as they are; one that is lost comes back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import cv2
import numpy as np
import pytest
from recording import RIG, session_meta
from rtsp_camera import RtspCamera

from handcap import session as session_store
from handcap.capture import Capture, CaptureParams, find_cameras, parse_cameras, sentences
from handcap.capture.camera_stream import CameraEventKind, CameraStream, CameraStreamParams
from handcap.capture.cameras import as_stamped
from handcap.clock import NS_PER_S
from handcap.devices import discovery
from handcap.devices.annex_b import AnnexB, nal_units
from handcap.devices.discovery import FoundCamera
from handcap.devices.video_opening import InputParams
from handcap.devices.video_source import Asked, found_again, video_source
from handcap.errors import DeviceError, RigError, UsageError
from handcap.session.pictures import is_key
from handcap.sim.network_camera import NetworkCamera
from handcap.sim.video import H264Encoder
from handcap.types import CameraPlug, Rig

RATE_HZ = 30.0
SIZE = (64, 48)
QUICK = CameraStreamParams(input=InputParams(open_s=3.0, silent_s=0.6), again_s=0.05, again_most_s=0.2, measured=15)


class Filming:
    """A network camera with somebody behind it: every picture is another, and is kept."""

    def __init__(
        self,
        format: Literal["mjpeg", "h264"] = "mjpeg",
        rate_hz: float = RATE_HZ,
        size: tuple[int, int] = SIZE,
        camera: RtspCamera | None = None,
    ) -> None:
        self.camera: Any = NetworkCamera(format, size, rate_hz) if camera is None else camera
        self.rate_hz, self.size = rate_hz, size
        self.sent: list[tuple[int, bytes]] = []
        self.frozen = False
        self._encoder = H264Encoder(*size, rate_hz) if format == "h264" else None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._film, daemon=True)

    def __enter__(self) -> Filming:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join()
        self.camera.close()

    def _film(self) -> None:
        k, data = 0, b""
        while not self._closing.wait(1 / self.rate_hz):
            if not (self.frozen and data):
                data = self._encoded(k)
            self.sent.append((time.monotonic_ns(), data))
            self.camera.show(data)
            k += 1

    def _encoded(self, k: int) -> bytes:
        picture = np.random.default_rng(k).integers(0, 255, (self.size[1], self.size[0], 3), np.uint8)
        if self._encoder is not None:
            return self._encoder.encode(picture, key=k % 15 == 0)
        return cv2.imencode(".jpg", picture)[1].tobytes()


def one_camera(**plug: object) -> Rig:
    """Only the head's camera, 64×48."""
    camera = replace(RIG.cameras["head"], plug=CameraPlug(**plug))  # type: ignore[arg-type]
    return replace(RIG, cameras={"head": camera}, devices={"head": RIG.devices["head"]})


def until(happened: Callable[[], object], timeout_s: float = 20.0) -> None:
    end = time.monotonic() + timeout_s
    while not happened():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)


def until_filmed(running: Capture, pictures: int) -> None:
    """The running take has so many pictures of the head's camera."""
    take = running.watch.take
    assert take is not None
    until(lambda: take.cameras["head"].pictures >= pictures)


def capturing(path: Path, rig: Rig, named: dict[str, str]) -> Capture:
    params = CaptureParams(camera=QUICK)
    cameras = find_cameras(rig, named, [])
    return Capture(path, session_meta("capture"), rig, {}, params, cameras=cameras, field_pass=False)


def kinds(stream: CameraStream) -> list[str]:
    return [event.kind for event in stream.events]


@pytest.mark.parametrize("format", ["mjpeg", "h264"])
def test_what_a_network_camera_sends_is_on_the_disk_byte_by_byte(
    tmp_path: Path, format: Literal["mjpeg", "h264"]
) -> None:
    with Filming(format) as filming:
        with capturing(tmp_path / "s", one_camera(), {"head": filming.camera.url}) as running:
            running.ready()
            take = running.start()
            until_filmed(running, 35)
            running.end()
        written = list(session_store.read(tmp_path / "s").take(take).packets("head"))
        sent = [data for _, data in filming.sent]
    assert len(written) > 15
    # A transport stream puts a delimiter before each unit of a video (ISO/IEC 13818-1, 2.14).
    first = next(k for k, data in enumerate(sent) if written[0].data.endswith(data))
    assert all(packet.data.endswith(data) for packet, data in zip(written, sent[first:], strict=False))
    assert {packet.format for packet in written} == {"jpeg" if format == "mjpeg" else "h264"}


def test_h264_over_rtsp_is_on_the_disk_unit_by_unit(tmp_path: Path) -> None:
    with Filming("h264", camera=RtspCamera(RATE_HZ)) as filming:
        with capturing(tmp_path / "s", one_camera(), {"head": filming.camera.url}) as running:
            running.ready()
            take = running.start()
            until_filmed(running, 35)
            running.end()
        written = session_store.read(tmp_path / "s").take(take)
        sent = [slices(data) for _, data in filming.sent]
    kept = [slices(packet.data) for packet in written.packets("head")]
    assert len(kept) > 15
    first = sent.index(kept[0])
    assert kept == sent[first : first + len(kept)]
    assert len(list(written.frames("head"))) > 10


def slices(unit: bytes) -> list[bytes]:
    """The picture itself, without parameters and delimiters."""
    return [unit[begin:end] for kind, begin, end in nal_units(unit) if kind in (1, 5)]


def test_pictures_are_stamped_as_they_arrive_and_the_report_says_so(tmp_path: Path) -> None:
    with Filming() as filming:
        with capturing(tmp_path / "s", one_camera(rate_hz=RATE_HZ), {"head": filming.camera.url}) as running:
            running.ready()
            take = running.start()
            until_filmed(running, 20)
            running.end()
        sent = {data: t_ns for t_ns, data in filming.sent}
    written = session_store.read(tmp_path / "s").take(take)
    arrived_ns = written.camera_stamps("head", as_recorded=True).tolist()
    arrived = zip(arrived_ns, written.packets("head"), strict=True)
    late_s = np.array([(t_ns - sent[packet.data]) / NS_PER_S for t_ns, packet in arrived])
    assert np.all(late_s > 0), "a picture cannot arrive before it was sent"
    told = session_store.read_report(tmp_path / f"s/derived/{take}/capture")["cameras"]["head"]
    assert told["given"] == {"format": "mjpeg", "size": list(SIZE), "rate_hz": None, "stamps": "arrival"}
    assert told["asked"]["rate_hz"] == RATE_HZ and told["source"] == filming.camera.url and told["lost"] == 0


def test_a_video_begins_with_a_key_picture_that_carries_its_parameters(tmp_path: Path) -> None:
    with Filming("h264") as filming, capturing(tmp_path / "s", one_camera(), {"head": filming.camera.url}) as running:
        running.ready()
        take = running.start()
        until_filmed(running, 35)
        running.end()
    written = session_store.read(tmp_path / "s").take(take)
    keys = [packet.data for packet in written.packets("head") if is_key(packet.data)]
    assert len(keys) >= 2 and all(b"\0\0\1\x67" in data for data in keys)
    seen = [frame.t_ns for frame in written.frames("head")]
    assert len(seen) >= len(written.camera_stamps("head")) - 15  # up to the first key picture


Two = tuple[Filming, Filming, Capture]


@pytest.fixture
def filmed(tmp_path: Path) -> Iterator[Two]:
    """Two network cameras, recorded: the head's and the left gripper's."""
    with Filming() as head, Filming(size=(64, 64)) as left:
        named = {"head": head.camera.url, "left": left.camera.url}
        with capturing(tmp_path / "s", RIG, named) as running:
            running.ready()
            yield head, left, running


def _silent(filming: Filming) -> Callable[[], None]:
    filming.camera.silent = True
    return lambda: setattr(filming.camera, "silent", False)


def _switched_off(filming: Filming) -> Callable[[], None]:
    filming.camera.switch_off()
    return filming.camera.switch_on


@pytest.mark.parametrize(("lose", "kind"), [(_silent, "camera_silent"), (_switched_off, "camera_gone")])
def test_a_lost_camera_is_said_and_taken_up_again_and_costs_the_other_nothing(
    filmed: Two, lose: Callable[[Filming], Callable[[], None]], kind: str
) -> None:
    head, left, running = filmed
    take = running.start()
    time.sleep(0.7)
    give_back = lose(head)
    until(lambda: kind in kinds(running.cameras["head"]))
    time.sleep(0.5)
    give_back()
    until(lambda: "camera_back" in kinds(running.cameras["head"]))
    time.sleep(0.7)
    ended = running.end()
    running.close()
    written = session_store.read(running.path).take(take)
    gap_s = np.diff(written.camera_stamps("head")).max() / NS_PER_S
    assert gap_s > 0.4
    assert any(c.code == "frames_missing" and c.body == "head" for c in ended.verdict.causes)
    other = [packet.data for packet in written.packets("left")]
    sent = [data for _, data in left.sent]
    first = sent.index(other[0])
    assert other == sent[first : first + len(other)], "a picture of the other camera is missing"
    events = session_store.read_report(running.path / f"derived/{take}/capture")["cameras"]["head"]["events"]
    assert [event["kind"] for event in events] == [kind, "camera_back"]
    assert [(name, event.kind) for name, event in running.camera_events()] == [("head", kind), ("head", "camera_back")]
    assert running.camera_events() == [], "said once"


@pytest.mark.parametrize("kind", get_args(CameraEventKind))
def test_what_happens_to_a_camera_can_be_said_in_every_language(kind: str) -> None:
    told = sentences.camera("left", kind)
    assert told["en"].startswith("The left gripper's camera ") and told["zh"].startswith("左夹爪相机")
    assert sentences.camera("odd", kind)["en"].startswith("Odd ")


def test_a_frozen_camera_is_told_from_a_living_one(filmed: Two) -> None:
    head, _, running = filmed
    running.start()
    time.sleep(0.5)
    head.frozen = True
    time.sleep(1.5)
    causes = {(cause.code, cause.body) for cause in running.end().verdict.causes}
    assert ("camera_frozen", "head") in causes and ("camera_frozen", "left") not in causes


def test_a_camera_at_another_rate_than_asked_says_so_once(tmp_path: Path) -> None:
    with Filming(rate_hz=12.0) as filming:
        rig = one_camera(rate_hz=30.0, uid=filming.camera.url)
        with capturing(tmp_path / "s", rig, {}) as running:
            running.ready()
            until(lambda: running.cameras["head"].events)
            time.sleep(1.5)
            (event,) = running.cameras["head"].events
    assert event.kind == "camera_slow" and "30 are asked for" in event.text


def test_a_camera_of_another_size_than_its_calibration_is_refused_with_both_sizes(tmp_path: Path) -> None:
    with (
        Filming(size=(80, 60)) as filming,
        capturing(tmp_path / "s", one_camera(), {"head": filming.camera.url}) as running,
        pytest.raises(DeviceError, match="80×60, and 64×48 are wanted"),
    ):
        running.ready()


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/stream", "rtsp://somebody:secret@127.0.0.1:9/stream"])
def test_a_camera_that_is_not_there_is_said_without_its_password(tmp_path: Path, url: str) -> None:
    with (
        capturing(tmp_path / "s", one_camera(), {"head": url}) as running,
        pytest.raises(DeviceError) as told,
    ):
        running.ready()
    assert told.value.cause == "camera_missing" and "secret" not in str(told.value)
    assert "127.0.0.1:9/stream" in str(told.value)


def test_a_page_that_is_no_camera_is_refused_and_no_file_is_read(tmp_path: Path) -> None:
    """A playlist may name files of this computer; nothing but camera streams is opened."""
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/vnd.apple.mpegurl")
            self.end_headers()
            self.wfile.write(b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n")

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stream = f"http://127.0.0.1:{server.server_address[1]}/live.m3u8"
    with capturing(tmp_path / "s", one_camera(), {"head": stream}) as running, pytest.raises(DeviceError):
        running.ready()
    server.shutdown()
    server.server_close()


CAMERAS = [
    FoundCamera("/dev/video0", "Cam A", "A1", "046d:0825", "1-1"),
    FoundCamera("/dev/video2", "Cam B", "SAME", "046d:0825", "1-2"),
    FoundCamera("/dev/video4", "Cam B", "SAME", "046d:0825", "1-3"),
]


@pytest.mark.parametrize(("named", "name"), [("A1", "/dev/video0"), ("1-3", "/dev/video4"), ("/dev/v", "/dev/v")])
def test_a_camera_is_found_by_its_number_or_its_socket(named: str, name: str) -> None:
    assert video_source(named, CAMERAS).name == name


@pytest.mark.parametrize(
    ("named", "what"),
    [
        ("SAME", "2 cameras have the same serial number .*1-2.*1-3"),
        ("B7", r"no such camera is plugged in \(cameras: /dev/video0 Cam A A1 at 1-1"),
        ("ftp://host/x", "no address of a camera"),
        ("http://", "no address of a camera"),
        ("http://[::1/x", "no address of a camera"),
        ("rtsp://host:port/x", "no address of a camera"),
    ],
)
def test_a_camera_that_cannot_be_told_is_refused_with_those_that_are_there(named: str, what: str) -> None:
    with pytest.raises(DeviceError, match=what):
        video_source(named, CAMERAS)


def test_the_rig_says_what_is_asked_of_a_camera_and_the_user_may_name_another() -> None:
    rig = one_camera(uid="A1", format="mjpeg", rate_hz=60.0)
    (by_rig,) = find_cameras(rig, {}, CAMERAS).values()
    assert (by_rig.source.name, by_rig.asked) == ("/dev/video0", Asked("mjpeg", SIZE, 60.0))
    (by_user,) = find_cameras(rig, {"head": "http://host/x"}, CAMERAS).values()
    assert by_user.source.network and by_user.asked == by_rig.asked
    with pytest.raises(UsageError, match="no camera 'left'"):
        find_cameras(rig, {"left": "A1"}, CAMERAS)


def test_how_a_camera_is_found_stays_in_rig_json(tmp_path: Path) -> None:
    plug = CameraPlug("A1", "h264", 30.0, ("head", 0))
    rig = one_camera(uid="A1", format="h264", rate_hz=30.0, trigger=("head", 0))
    session_store.write_rig(tmp_path / "rig.json", rig)
    assert session_store.read_rig(tmp_path / "rig.json").cameras["head"].plug == plug
    session_store.write_rig(tmp_path / "plain.json", RIG)
    assert "plug" not in (tmp_path / "plain.json").read_text()


def test_a_camera_triggered_by_a_board_that_the_rig_does_not_know_is_refused(tmp_path: Path) -> None:
    session_store.write_rig(tmp_path / "rig.json", one_camera(trigger=("head", 0)))
    text = (
        (tmp_path / "rig.json")
        .read_text()
        .replace('"device": "head",\n          "line"', '"device": "x",\n          "line"')
    )
    (tmp_path / "rig.json").write_text(text)
    with pytest.raises(RigError, match=r"cameras.head.plug.trigger: no device 'x' \(known: head\)"):
        session_store.read_rig(tmp_path / "rig.json")


def test_a_camera_plugged_in_again_is_found_by_its_number_wherever_it_is_now(monkeypatch: pytest.MonkeyPatch) -> None:
    before = video_source("A1", CAMERAS)
    moved = [replace(CAMERAS[0], name="/dev/video7")]
    monkeypatch.setattr(discovery, "cameras", lambda: moved)
    assert found_again(before).name == "/dev/video7"
    assert found_again(video_source("/dev/video0", CAMERAS)).name == "/dev/video0"


@pytest.mark.parametrize("zeros", [b"\0\0\1", b"\0\0\0\1"])
def test_a_key_picture_without_parameters_gets_those_of_before(zeros: bytes) -> None:
    """Some cameras send them once, with the first picture."""
    sps, pps, idr, other = b"\x67sps", b"\x68pps", b"\x65key", b"\x41other"

    class Stream:
        class codec_context:
            extradata = None

    units = AnnexB(Stream)
    whole = b"".join(zeros + part for part in (sps, pps, idr))
    assert list(units.units(whole)) == [(whole, True)]
    assert list(units.units(zeros + other)) == [(zeros + other, False)]
    ((again, key),) = units.units(zeros + idr)
    assert key and [kind for kind, _, _ in nal_units(again)] == [7, 8, 5]
    assert again.endswith(zeros + idr)


def test_h264_with_lengths_becomes_annex_b_as_it_was(tmp_path: Path) -> None:
    """As an MP4 file holds it, or an RTSP camera may."""
    import av

    with av.open(tmp_path / "v.mp4", "w") as file:
        stream = file.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt, stream.options = *SIZE, "yuv420p", {"bf": "0"}  # type: ignore[union-attr]
        for k in range(6):
            picture = av.VideoFrame.from_ndarray(np.full((*SIZE[::-1], 3), 9 * k, np.uint8), format="rgb24")
            picture.pts = k
            file.mux(stream.encode(picture))  # type: ignore[union-attr]
        file.mux(stream.encode(None))  # type: ignore[union-attr]
    with av.open(tmp_path / "v.mp4") as file:
        units = AnnexB(file.streams.video[0])
        made = [unit for packet in file.demux(video=0) for unit in units.units(packet)]
    assert [key for _, key in made] == [True, *[False] * 5]
    assert all(data.startswith(b"\0\0\0\1") for data, _ in made)
    assert {7, 8, 5} <= {kind for kind, _, _ in nal_units(made[0][0])}


@pytest.mark.parametrize("given", [["head"], ["=x"], ["head="], ["head=a", "head=b"]])
def test_a_camera_is_named_once_and_with_its_place(given: list[str]) -> None:
    with pytest.raises(UsageError):
        parse_cameras(given)
    assert parse_cameras(["head=rtsp://h/x?a=b", "left=A1"]) == {"head": "rtsp://h/x?a=b", "left": "A1"}


def test_a_stamp_of_arrival_leaves_a_calibrated_offset_uncertain_and_nothing_else() -> None:
    stamped = as_stamped(RIG, find_cameras(RIG, {"head": "http://host/x"}, []))
    assert RIG.cameras["head"].dt_sigma_s == 1e-4 and stamped.cameras["head"].dt_sigma_s is None
    triggered = one_camera(trigger=("head", 0))
    assert as_stamped(triggered, find_cameras(triggered, {"head": "http://host/x"}, [])).cameras["head"].dt_sigma_s
