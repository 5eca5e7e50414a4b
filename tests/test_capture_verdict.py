"""What is measured of stamps, pictures and boards while a take runs, and what the verdict on the spot makes of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recording import jpeg, new_session

from handcap import session as session_store
from handcap.capture.board_watch import DeviceWatch
from handcap.capture.camera_verdict import camera_causes, dark_s
from handcap.capture.camera_watch import CameraWatch
from handcap.capture.limits import SpotParams
from handcap.capture.look import Eyes, Look
from handcap.capture.verdict import judge
from handcap.capture.watch import TakeWatch
from handcap.clock import NS_PER_S
from handcap.devices import Message
from handcap.geometry import inverse, se3, so3_exp, transform
from handcap.measure.fingers import SHARE, finger_tags
from handcap.measure.follow import corners, follow
from handcap.measure.mount import left_right, slip, turn_by_fingers, turn_by_pair
from handcap.measure.stamps import gaps_ns, jitter_s, lost_share
from handcap.sim.played import Played
from handcap.sim.rigs import drawn
from handcap.wire.handcap_pb2 import Envelope, ImuBatch

FULL = drawn("full", 1)
PERIOD_NS = NS_PER_S // 30
PARAMS = SpotParams()


@given(st.sets(st.integers(1, 178)), st.integers(0, 10**15))
def test_share_of_lost_pictures_is_what_was_taken_out(gone, start_ns) -> None:
    gone = {k for k in gone if k % 3 == 0}  # no gap is long
    kept = np.array([k for k in range(180) if k not in gone])
    assert lost_share(start_ns + kept * PERIOD_NS, NS_PER_S) == pytest.approx(len(gone) / 180)


def test_a_gap_is_no_loss() -> None:
    t_ns = np.delete(np.arange(180), np.arange(60, 90)) * PERIOD_NS
    assert lost_share(t_ns, NS_PER_S // 3) == 0.0
    assert gaps_ns(t_ns, NS_PER_S // 3) == [(59 * PERIOD_NS, 90 * PERIOD_NS)]


@given(st.floats(0.0, 8e-3), st.integers(0, 1000))
def test_jitter_of_stamps_is_measured_where_it_was_put(jitter, seed) -> None:
    off_s = np.random.default_rng(seed).uniform(-jitter, jitter, 60)
    t_ns = np.arange(180) * PERIOD_NS
    t_ns[60:120] += np.rint(off_s * 1e9).astype(np.int64)
    assert jitter_s(t_ns) == pytest.approx(jitter / np.sqrt(3), rel=0.35, abs=1e-6)


def test_lost_pictures_and_a_rate_that_drifts_are_no_jitter() -> None:
    t_ns = np.rint(np.cumsum(np.linspace(1.0, 1.1, 300)) * PERIOD_NS).astype(np.int64)
    assert jitter_s(np.delete(t_ns, [50, 51, 120])) < 5e-4


def wall(shift_px: int = 0, level: float = 1.0) -> np.ndarray:
    """A textured wall, (240, 320)."""
    small = np.random.default_rng(1).integers(40, 200, (20, 30), dtype=np.uint8)
    big = cv2.resize(small, None, fx=12, fy=12, interpolation=cv2.INTER_CUBIC)
    return np.clip(np.rint(big[:240, shift_px : shift_px + 320] * level), 0, 255).astype(np.uint8)


@settings(max_examples=20)
@given(st.floats(0.92, 1.08), st.integers(0, 6))
def test_a_moved_picture_is_followed_and_its_brightness_compared(level, shift_px) -> None:
    seen = follow(wall(), wall(shift_px, level))
    assert seen.corners > 50
    assert seen.share > 0.5
    assert np.nanmedian(seen.brighter) == pytest.approx(np.log(level), abs=0.05)


def test_noise_gives_nothing_to_hold_on_to() -> None:
    noise = np.random.default_rng(2).normal(20, 1.5, (240, 320)).clip(0, 255).astype(np.uint8)
    assert len(corners(cv2.blur(noise, (2, 2)))) < PARAMS.least_corners


small_turns = st.tuples(*[st.floats(-0.08, 0.08)] * 3)


@given(small_turns)
def test_a_turn_of_a_gripper_camera_shows_in_its_own_fingers(turn) -> None:
    gripper, camera = FULL.grippers["left"], FULL.cameras["left"].camera
    tags, R_calibrated_now = finger_tags(gripper.tags), so3_exp(turn)
    opening = 0.035
    p = [
        transform(gripper.T_cam_tcp, tag.corners_body + SHARE[tag.body] * opening * np.array([1.0, 0, 0]))
        for tag in tags
    ]
    px = np.array([camera.project(each @ R_calibrated_now)[0] for each in p])
    np.testing.assert_allclose(turn_by_fingers(px, tags, camera, gripper.T_cam_tcp), turn, atol=2e-3)


def test_one_finger_alone_tells_nothing_of_the_mount() -> None:
    gripper, camera = FULL.grippers["left"], FULL.cameras["left"].camera
    (tag, *_) = finger_tags(gripper.tags)
    assert turn_by_fingers(np.zeros((1, 4, 2)) + 200.0, [tag], camera, gripper.T_cam_tcp) is None


@given(small_turns, st.integers(0, 1000))
def test_a_turn_of_one_head_camera_shows_against_the_other(turn, seed) -> None:
    T_left_right = left_right(FULL.cameras["head_left"].T_imu_cam, FULL.cameras["head_right"].T_imu_cam)
    points_left = np.random.default_rng(seed).uniform([-1, -1, 0.5], [1, 1, 3.0], (120, 3))
    in_right = transform(inverse(T_left_right), points_left) @ so3_exp(turn)
    rays = [p / np.linalg.norm(p, axis=1, keepdims=True) for p in (points_left, in_right)]
    found = turn_by_pair(*rays, T_left_right)
    assert found is not None
    across = T_left_right[:3, :3].T @ T_left_right[:3, 3] / np.linalg.norm(T_left_right[:3, 3])
    along_baseline = abs(float((found - turn) @ across))
    assert along_baseline < 5e-3
    assert np.linalg.norm(found) <= 1.2 * np.linalg.norm(turn) + 2e-3


def test_a_slip_is_found_where_it_happened() -> None:
    t_s = np.arange(16) * 0.5
    turns = np.where(t_s[:, None] < 4.0, 0.0, [[0.0, 0.05, 0.0]]) + np.random.default_rng(0).normal(0, 1e-3, (16, 3))
    found = slip(list(t_s), list(turns))
    assert found is not None
    assert found.turned_rad == pytest.approx(0.05, abs=3e-3)
    assert found.span_s == (3.5, 4.0)


def batches(jump: Callable[[int], int]) -> Iterator[Message]:
    """Four seconds at 200 Hz in batches of four, whose stamps are off by `jump(batch)` ns."""
    for k in range(200):
        t_ns = 20_000_000 * k
        said = ImuBatch(first_sample_t_ns=t_ns + 10**12 + jump(k), period_ns=5_000_000, gyro_scale=1e-3)
        said.gyro_counts.extend([300, 0, 0] * 4)
        said.accel_counts.extend([0, 0, 2048] * 4)
        yield Message(Envelope(seq=k, boot_id=7, imu_batch=said).SerializeToString(), t_ns + 20_000_000, 1)


@settings(max_examples=20)
@given(st.integers(20, 200).map(lambda ms: 1_000_000 * ms), st.sampled_from([-1, 1]))
def test_a_clock_that_jumps_and_returns_is_no_loss_of_samples(by_ns, way) -> None:
    watched = DeviceWatch()
    for message in batches(lambda k: way * by_ns * (60 <= k < 140)):
        watched.add(message, 0)
    (jump,) = watched.jumps
    assert (jump.by_ns, watched.missing, watched.gaps_s) == (way * by_ns, 0, [])
    assert jump.at_s == pytest.approx(1.2, abs=0.25)
    assert jump.returned_s == pytest.approx(2.8, abs=0.25)


def test_samples_that_are_gone_are_no_jump() -> None:
    watched = DeviceWatch()
    for k, message in enumerate(batches(lambda k: 0)):
        if not 60 <= k < 140:
            watched.add(message, 0)
    assert (watched.jumps, watched.missing) == ([], 320)


def looked(*looks: Look, rate_hz: float = 30.0, seconds: float = 8.0) -> CameraWatch:
    """A camera whose pictures came as they should, and what was seen in them."""
    watched = CameraWatch(0)
    for k in range(round(rate_hz * seconds)):
        watched.add(round(k * NS_PER_S / rate_hz), b"%d" % k, None, key=False)
    for look in looks:
        watched.saw(look)
    return watched


GOOD = Look(0.0, 100.0, 100, 1.0, 0.005, 1.0)


def series(change: Callable[[float], Look]) -> list[Look]:
    """Three looks a second for eight seconds."""
    return [replace(change(k / 3), t_s=k / 3) for k in range(24)]


def causes(watched: CameraWatch, others_dark_s: list[list[tuple[float, float]]]) -> list[str]:
    return [cause.code for cause in camera_causes("left", watched, 0.0, 8.0, None, others_dark_s, PARAMS)]


def test_a_finger_on_the_lens_is_told_apart_from_the_dark() -> None:
    finger = replace(GOOD, brightness=5.0, corners=0)
    covered = looked(*series(lambda t: finger if 3 < t < 6 else GOOD))
    everywhere = looked(*series(lambda t: finger))
    assert causes(covered, [[], []]) == ["camera_covered"]
    assert causes(everywhere, [dark_s(everywhere, PARAMS)] * 2) == ["too_dark"]


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (replace(GOOD, flicker=0.15), "lamp_flickers"),
        (replace(GOOD, edge_px=3.5), "pictures_blurred"),
        (replace(GOOD, followed=0.1), "hard_to_follow"),
        (replace(GOOD, brightness=250.0), "too_bright"),
        (replace(GOOD, corners=3), "camera_covered"),
    ],
)
def test_what_most_looks_show_is_said(bad, code) -> None:
    assert causes(looked(*series(lambda t: bad)), [[]]) == [code]


def test_a_hand_that_passes_by_is_nothing() -> None:
    hand = replace(GOOD, corners=3, flicker=0.3)
    assert causes(looked(*series(lambda t: hand if 3 < t < 3.5 else GOOD)), [[]]) == []


def test_video_that_decodes_to_one_picture_is_frozen_only_where_the_device_turned() -> None:
    watched = looked(*series(lambda t: replace(GOOD, same_since_s=1.0) if 1 < t < 3.6 else GOOD))
    turning, lying = DeviceWatch(), DeviceWatch()
    for message in batches(lambda k: 0):
        turning.add(message, 0)
    for message in batches(lambda k: 0):
        message.envelope.imu_batch.gyro_scale = 1e-6
        lying.add(message, 0)
    codes = [[c.code for c in camera_causes("left", watched, 0.0, 8.0, b, [[]], PARAMS)] for b in (turning, lying)]
    assert codes == [["camera_frozen"], []]


def taken(cameras: dict[str, CameraWatch], devices: dict[str, DeviceWatch], not_looked_at: int = 0) -> list[str]:
    take = TakeWatch(0, devices, cameras, Eyes(None, 0), 8 * NS_PER_S, not_looked_at)
    return [cause.code for cause in judge(take, {}).causes]


def test_a_take_that_was_hardly_looked_at_says_so() -> None:
    assert taken({"left": looked(*series(lambda t: GOOD))}, {}, not_looked_at=60) == ["hardly_looked_at"]


def test_a_long_wait_is_worth_a_word_and_no_fault() -> None:
    watched = DeviceWatch(clock_sigma_s=1e-5)
    for message in batches(lambda k: 0):
        watched.add(message, 0)
    for number in range(8, 22):
        watched.bins[number] = replace(watched.bins[0], turned_rad=0.0)
    take = TakeWatch(0, {"head": watched}, {}, Eyes(None, 0), 12 * NS_PER_S)
    verdict = judge(take, {})
    assert [(cause.code, cause.span_s) for cause in verdict.causes] == [("idle", (4.0, 11.0))]
    assert verdict.verdict == "ok"


def test_two_pictures_of_an_h264_stream_are_looked_at() -> None:
    import av

    context = av.CodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt = 640, 480, "yuv420p"
    context.framerate, context.options = 30, {"tune": "zerolatency", "preset": "ultrafast"}
    units: list[bytes] = []
    for k in range(2):
        frame = av.VideoFrame.from_ndarray(cv2.resize(wall(k), (640, 480)), format="gray8").reformat(format="yuv420p")
        frame.pts = k
        units += [bytes(packet) for packet in context.encode(frame)]
    look = Eyes(None, 0).look("left", NS_PER_S, units[:2], "h264")
    assert look is not None
    assert look.corners > 50
    assert look.followed > 0.8


def test_a_clock_that_jumped_is_played_as_it_happened(tmp_path: Path) -> None:
    writer = new_session(tmp_path / "s", "simulation")
    even_ns = NS_PER_S + np.arange(800) * 5_000_000
    stamped_ns = even_ns + np.where((even_ns >= 2 * NS_PER_S) & (even_ns < 4 * NS_PER_S), 60_000_000, 0)
    with writer.start_take() as take:
        for at in range(0, 800, 10):
            rows = slice(at, at + 10)
            take.add_imu_si("head", stamped_ns[rows], np.zeros((10, 3)), np.zeros((10, 3)))
        for k in range(80):
            take.add_image("head", int(stamped_ns[10 * k]), jpeg(k), "jpeg")
    writer.close()
    (tmp_path / "s/truth").mkdir()
    fault = {"t_start_ns": 2 * NS_PER_S, "t_end_ns": 4 * NS_PER_S, "take": "0001", "kind": "clock_jump"}
    (tmp_path / "s/truth/truth.json").write_text(json.dumps({"faults": [fault | {"device": "head"}]}))
    played = Played(session_store.read(tmp_path / "s").take("0001"), ["head"])
    part = played.parts["head"]
    assert len(part.t_ns) == 800
    np.testing.assert_array_equal(np.diff(part.due_ns), 5_000_000)
    np.testing.assert_array_equal(part.t_ns - part.due_ns, stamped_ns - even_ns)
    shown = list(played.pictures())
    assert np.all(np.diff([each.due_ns for each in shown]) == 50_000_000)
    assert {each.t_ns - each.due_ns for each in shown} == {0, 60_000_000}


def test_shifts_show_as_turns() -> None:
    """A camera that slid 5 mm sees its fingers as if it had turned."""
    gripper, camera = FULL.grippers["right"], FULL.cameras["right"].camera
    tags = finger_tags(gripper.tags)
    T_cam_tcp = inverse(se3(np.eye(3), [0.0, 0.005, 0.0])) @ gripper.T_cam_tcp
    px = np.array([camera.project(transform(T_cam_tcp, tag.corners_body))[0] for tag in tags])
    turn = turn_by_fingers(px, tags, camera, gripper.T_cam_tcp)
    assert turn is not None
    assert np.linalg.norm(turn) > PARAMS.slip_rad
