"""Each fault does what its name says, where and when it was asked for, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handcap import geometry
from handcap.cameras import PinholeRadtan
from handcap.errors import UsageError
from handcap.sim import faults
from handcap.sim.exposure import Flicker
from handcap.sim.faults import KINDS, Fault, check, parse_fault
from handcap.types import Device, ImuModel, MountedCamera, Rig

T_NS = np.arange(600, dtype=np.int64) * 33_333_333
WITHIN = (T_NS >= 5_000_000_000) & (T_NS < 8_000_000_000)
CAMERA = PinholeRadtan(64, 48, (50.0, 50.0, 31.5, 23.5, 0, 0, 0, 0))
BOARD = Device(ImuModel(200.0, 1e-4, 1e-3, 1e-5, 1e-4))
RIG = Rig(
    "two",
    {"head": BOARD, "left": BOARD},
    {name: MountedCamera(name.split("_")[0], CAMERA, np.eye(4)) for name in ("head_left", "head_right", "left")},
)


def fault(kind: str, name: str = "left") -> Fault:
    return Fault(kind, 5.0, 8.0, name)


def rng() -> np.random.Generator:
    return np.random.default_rng(4)


@given(st.sampled_from(list(KINDS)), st.integers(0, 9999), st.integers(1, 9999), st.sampled_from(["left", "head"]))
def test_a_fault_is_what_its_text_says(kind: str, start_ds: int, length_ds: int, name: str) -> None:
    start_s, end_s = start_ds / 10, (start_ds + length_ds) / 10
    assert parse_fault(f"{kind}@{start_s}-{end_s}:{name}") == Fault(kind, start_s, end_s, name)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("lost_frames", "lost_frames@5-8:left"),
        ("lost_frames@5:left", "kind@start-end:name"),
        ("lost_frames@-5-8:left", "kind@start-end:name"),
        ("lost_frames@nan-inf:left", "kind@start-end:name"),
        ("lost_frames@5-8:", "kind@start-end:name"),
        ("meteor@5-8:left", "frozen_camera"),
        ("lost_frames@8-5:left", "earlier second first"),
        ("lost_frames@5-5:left", "earlier second first"),
        ("lost_frames@5-8:head", "head_left, head_right, left"),
        ("unplug@5-8:head_left", "head, left"),
    ],
)
def test_bad_text_is_answered_with_what_would_have_worked(text: str, named: str) -> None:
    with pytest.raises(UsageError) as caught:
        check([parse_fault(text)], RIG)
    assert named in str(caught.value)
    assert "\n" not in caught.value.what


def test_faults_strike_what_they_name_and_nothing_else() -> None:
    assert fault("unplug", "head").strikes_camera("head_left", "head") and fault("unplug", "head").strikes_board("head")
    assert not fault("unplug", "head").strikes_camera("left", "left")
    assert fault("covered_lens", "head_left").strikes_camera("head_left", "head")
    assert not fault("covered_lens", "head_left").strikes_camera("head_right", "head")
    assert not fault("covered_lens").strikes_board("left")
    assert fault("imu_dropout").strikes_board("left") and not fault("imu_dropout").strikes_camera("left", "left")


@pytest.mark.parametrize("kind", KINDS)
def test_outside_its_span_a_fault_changes_nothing(kind: str) -> None:
    f = fault(kind)
    jitter_tail = WITHIN.copy()
    jitter_tail[np.flatnonzero(WITHIN)[-1] + 1] = True  # a late picture may push the next one back
    stamps = faults.stamps_after(f, T_NS, rng())
    np.testing.assert_array_equal(stamps[~jitter_tail], T_NS[~jitter_tail])
    assert faults.keeps(f, T_NS, rng())[~WITHIN].all()
    np.testing.assert_array_equal(faults.shown_instead(f, T_NS)[~WITHIN], np.flatnonzero(~WITHIN))
    light = np.ones((4, 6, 3), np.float32)
    for k in (0, int(np.argmax(WITHIN)) - 1, int(np.flatnonzero(WITHIN)[-1]) + 1):
        assert faults.light_after(f, light, int(T_NS[k])) is light
        assert faults.flicker_in(f, int(T_NS[k])) is None
    before = faults.slip(f, T_NS[~WITHIN & (T_NS < 5_000_000_000)] / 1e9, rng())
    np.testing.assert_array_equal(before, np.broadcast_to(np.eye(4), before.shape))


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_fault_and_every_kind_has_an_effect(kind: str) -> None:
    f = fault(kind)
    light = np.ones((4, 6, 3), np.float32)
    middle_ns = int(T_NS[WITHIN][10])
    effects = [
        not np.array_equal(faults.stamps_after(f, T_NS, rng()), T_NS),
        not faults.keeps(f, T_NS, rng()).all(),
        not np.array_equal(faults.shown_instead(f, T_NS), np.arange(len(T_NS))),
        faults.light_after(f, light, middle_ns) is not light,
        faults.flicker_in(f, middle_ns) is not None,
        not np.allclose(faults.slip(f, [7.0], rng()), np.eye(4)),
    ]
    assert sum(effects) == 1
    for effect in (faults.stamps_after, faults.keeps):
        np.testing.assert_array_equal(effect(f, T_NS, rng()), effect(f, T_NS, rng()))


def test_jitter_delays_by_milliseconds_and_keeps_the_order() -> None:
    late_s = (faults.stamps_after(fault("usb_jitter"), T_NS, rng()) - T_NS)[WITHIN] / 1e9
    assert late_s.min() >= 0 and 0.002 < late_s.mean() < 0.01
    fast_ns = np.arange(20_000, dtype=np.int64) * 1_000_000  # delays longer than the period
    assert np.all(np.diff(faults.stamps_after(fault("usb_jitter"), fast_ns, rng())) > 0)


def test_lost_pictures_are_many_and_come_in_bursts() -> None:
    t_ns = np.arange(200_000, dtype=np.int64) * 10_000_000
    lost = ~faults.keeps(Fault("lost_frames", 1.0, 1900.0, "left"), t_ns, rng())
    share = lost.sum() / 189_900
    bursts = np.count_nonzero(lost[1:] & ~lost[:-1])
    assert 0.38 < share < 0.42
    assert 2.8 < lost.sum() / bursts < 3.2


def test_a_frozen_camera_shows_the_last_picture_before() -> None:
    shown = faults.shown_instead(fault("frozen_camera"), T_NS)
    assert np.all(shown[WITHIN] == np.argmax(WITHIN) - 1)
    from_the_start = faults.shown_instead(Fault("frozen_camera", 0.0, 1.0, "left"), T_NS)
    assert np.all(from_the_start[T_NS < 1_000_000_000] == 0)


def test_a_jump_is_one_number_and_ends() -> None:
    jump_ns = faults.stamps_after(fault("clock_jump"), T_NS, rng()) - T_NS
    assert len(np.unique(jump_ns[WITHIN])) == 1
    assert 20_000_000 <= abs(jump_ns[WITHIN][0]) <= 200_000_000


def test_a_finger_on_the_lens_leaves_a_dim_glow() -> None:
    light = np.random.default_rng(0).uniform(0, 255, (48, 64, 3)).astype(np.float32)
    covered = faults.light_after(fault("covered_lens"), light, 6_000_000_000)
    assert covered.shape == light.shape and covered.dtype == np.float32
    assert 0 < covered.mean() < 10
    assert covered[..., 0].mean() > covered[..., 2].mean()


def test_a_bad_lamp_shows_bands() -> None:
    lamp = faults.flicker_in(fault("flicker"), 6_000_000_000)
    assert isinstance(lamp, Flicker)
    assert np.ptp(lamp.row_gain(np.arange(480) * 3e-5, 0.003)) > 0.3


def test_a_slipped_camera_stays_where_it_slid() -> None:
    t_s = np.linspace(4, 10, 601)
    T = faults.slip(fault("mount_slip"), t_s, rng())
    turned = np.linalg.norm(geometry.so3_log(T[:, :3, :3]), axis=-1)
    assert np.all(np.diff(turned) >= -1e-12)
    assert turned[-1] == pytest.approx(np.deg2rad(3.0)) and np.linalg.norm(T[-1, :3, 3]) == pytest.approx(0.005)
    np.testing.assert_allclose(T[t_s >= 8.0], np.broadcast_to(T[-1], T[t_s >= 8.0].shape), atol=1e-12)


def test_truth_names_kind_span_take_and_what_was_struck() -> None:
    assert parse_fault("unplug@5.5-8:left").as_truth("0001") == {
        "t_start_ns": 5_500_000_000,
        "t_end_ns": 8_000_000_000,
        "take": "0001",
        "kind": "unplug",
        "device": "left",
    }
