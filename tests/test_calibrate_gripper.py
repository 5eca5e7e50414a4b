"""Jaws on gauge blocks: what is known afterwards, and why a series is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handcap import geometry, session, sim
from handcap.calibrate.gripper.figures import compare_moving, figures_by_encoder, figures_by_tags
from handcap.calibrate.gripper.gauges import Recognised, recognise
from handcap.calibrate.gripper.holds import find_holds
from handcap.calibrate.gripper.judged import judge_jaws, tag_size
from handcap.calibrate.gripper.measurement import By, GaugedJaws, measure_jaws
from handcap.calibrate.gripper.model import mean_opening_m
from handcap.calibrate.gripper.record import EncoderHealth, JawRecord
from handcap.calibrate.gripper.solve import tcp_covariance
from handcap.calibrate.gripper.stage import calibrate_gripper, drawn_of
from handcap.causes import Cause
from handcap.cli.app import main
from handcap.clock import nanoseconds
from handcap.encoder import COUNTS_PER_TURN, JawEncoder
from handcap.errors import CalibrationError
from handcap.geometry import Array
from handcap.measure.fingers import SHARE, FingerSights, finger_tags
from handcap.reconstruct.jaw import jaw_width
from handcap.session import SessionClock, SessionMeta
from handcap.sim.encoder import encoder_envelopes
from handcap.sim.gauge_series import GaugeSeries, SeriesParams, record_series
from handcap.sim.rigs import PRINTED
from handcap.types import JawReadings, Side, Tag

GAUGES_MM = (10, 20, 30, 40, 50, 60, 70)
GAUGES_M = np.array(GAUGES_MM) / 1000
NO_READINGS = JawReadings(np.empty(0, np.int64), np.empty(0, np.int64))


USUAL = SeriesParams()


@cache
def series(seed: int, side: Side = "right", params: SeriesParams = USUAL) -> GaugeSeries:
    return record_series(GAUGES_M, seed, side, params)


def record_of(seen: GaugeSeries) -> JawRecord:
    sights = FingerSights(seen.picture, seen.tag, seen.px)
    return JawRecord(seen.camera_t_ns, sights, seen.readings, EncoderHealth(sent=len(seen.readings)))


def measured(seen: GaugeSeries, side: Side, by: By = "both") -> GaugedJaws:
    drawn, sign_known = drawn_of(seen.known, side)
    jaws = measure_jaws(record_of(seen), drawn, GAUGES_M, by, sign_known=sign_known)
    assert isinstance(jaws, GaugedJaws), jaws
    return jaws


def true_angle_rad(encoder: JawEncoder, opening_m: Array) -> Array:
    angle = encoder.zero_rad + opening_m / encoder.metres_per_rad
    return angle + encoder.eccentricity_rad * np.sin(angle - encoder.eccentricity_phase_rad)


def true_px(seen: GaugeSeries, side: Side, opening_m: Array) -> Array:
    gripper = seen.true.grippers[side]
    assert gripper.T_cam_tcp is not None
    tags = finger_tags(gripper.tags)
    shift = np.zeros((len(opening_m), len(tags), 1, 3))
    shift[:, :, 0, 0] = opening_m[:, None] * np.array([SHARE[tag.body] for tag in tags])
    corners = np.array([tag.corners_body for tag in tags])
    px, _ = seen.true.cameras[side].camera.project(geometry.transform(gripper.T_cam_tcp, corners + shift))
    return px + seen.beside_px


@pytest.mark.parametrize(
    ("side", "by", "seed", "backwards"),
    [
        ("right", "both", 1, False),
        ("left", "tags", 2, False),
        ("left", "encoder", 3, False),
        pytest.param("right", "both", 4, True, marks=pytest.mark.slow),
    ],
)
def test_an_opening_is_known_to_a_tenth_of_a_millimetre_over_the_whole_range(
    side: Side, by: By, seed: int, backwards: bool
) -> None:
    seen = series(seed, side, SeriesParams(backwards=backwards))
    jaws = measured(seen, side, by)
    openings_m = np.linspace(0.01, 0.07, 25)
    if by != "tags":
        found, true = jaws.fit.encoder, seen.true.grippers[side].encoder
        assert found is not None and true is not None
        counts = true_angle_rad(true, openings_m) * COUNTS_PER_TURN / (2 * np.pi) - 0.5
        assert np.abs(found.opening_m(counts) - openings_m).max() < 1e-4
        assert np.sign(found.metres_per_rad) == np.sign(true.metres_per_rad)
        assert abs(jaws.noise_rad / true.noise_rad - 1) < 0.2
    if by != "encoder":
        assert jaws.fit.T_cam_tcp is not None and jaws.model.drawn.camera is not None
        px = true_px(seen, side, openings_m)
        width = mean_opening_m(px, jaws.model.drawn.camera, jaws.fit.T_cam_tcp, jaws.fit.tags)
        assert np.abs(width - openings_m).max() < 1e-4
    figures = [each for each in (figures_by_tags(jaws), figures_by_encoder(jaws)) if each is not None]
    assert len(figures) == (2 if by == "both" else 1)
    assert judge_jaws(jaws, figures) == ("ok", ())


@pytest.mark.slow
def test_the_tool_frame_is_found_as_well_as_it_says() -> None:
    ratios: list[Array] = []
    for seed in (1, 4, 6):
        jaws = measured(series(seed), "right", "tags")
        true = series(seed).true.grippers["right"].T_cam_tcp
        assert jaws.fit.T_cam_tcp is not None and true is not None
        off = geometry.se3_log(geometry.inverse(jaws.fit.T_cam_tcp) @ true)
        cov, drawn = tcp_covariance(jaws.model, jaws.fit)
        ratios.append(off / np.sqrt(np.diag(cov)))
        # The closing axis is seen; how far the tip is beyond the tags is not.
        share = np.diag(cov) / np.diag(drawn)
        assert share[2] < 0.05 and share[4] > 0.01
    assert 0.5 < np.sqrt(np.mean(np.array(ratios) ** 2)) < 1.5


def test_a_shift_of_the_encoders_zero_shifts_the_zero_found_and_nothing_else() -> None:
    seen = series(1)
    shifted = (seen.readings.counts + 700) % COUNTS_PER_TURN
    moved = measured(replace(seen, readings=JawReadings(seen.readings.t_ns, shifted)), "right", "encoder").fit.encoder
    still = measured(seen, "right", "encoder").fit.encoder
    assert moved is not None and still is not None
    turned = (moved.zero_rad - still.zero_rad - 700 * 2 * np.pi / COUNTS_PER_TURN + np.pi) % (2 * np.pi) - np.pi
    assert abs(turned) < 1e-6
    assert moved.metres_per_rad == pytest.approx(still.metres_per_rad, rel=1e-6)


@pytest.mark.slow
def test_play_between_jaws_and_encoder_is_measured_against_the_tags() -> None:
    seen = series(5, "right", SeriesParams(hysteresis_m=2e-4))
    moving = compare_moving(record_of(seen), measured(seen, "right"))
    assert moving is not None
    # Blocks are all closed on from the wide side, where the encoder is behind by half the play.
    assert abs(moving.backlash_m.value + 2e-4) < 5e-5
    none = compare_moving(record_of(series(1)), measured(series(1), "right"))
    assert none is not None and abs(none.backlash_m.value) < 5e-5 and abs(none.late_s.value) < 5e-4


# What goes wrong with a series


def _refusal(seen: GaugeSeries, by: By = "both", gauges_m: Array = GAUGES_M, **changed: object) -> str:
    drawn, sign_known = drawn_of(seen.known, "right")
    record = replace(record_of(seen), **changed)
    found = measure_jaws(record, drawn, gauges_m, by, sign_known=sign_known)
    if isinstance(found, Cause):
        return found.code
    figures = [each for each in (figures_by_tags(found), figures_by_encoder(found)) if each is not None]
    verdict, causes = judge_jaws(found, figures)
    assert verdict == "refused"
    assert len({cause.code for cause in causes}) == 1, causes
    return causes[0].code


def _slipped(seen: GaugeSeries, by_rad: float) -> GaugeSeries:
    counts = seen.readings.counts.copy()
    counts[len(counts) // 2 :] += round(by_rad * COUNTS_PER_TURN / (2 * np.pi))
    return replace(seen, readings=JawReadings(seen.readings.t_ns, counts % COUNTS_PER_TURN))


def _of_size(seen: GaugeSeries, share: float) -> GaugeSeries:
    def sized(tag: Tag) -> Tag:
        return replace(tag, size_m=tag.size_m * share)

    gripper = seen.known.grippers["right"]
    stated = replace(gripper, tags=tuple(map(sized, gripper.tags)))
    return replace(seen, known=replace(seen.known, grippers={"right": stated}))


def _blocks(*held_mm: float) -> GaugeSeries:
    return record_series(np.array(held_mm) / 1000, 1)


def _loose(seen: GaugeSeries) -> GaugeSeries:
    """A finger's tag that moves by a millimetre half-way."""
    later = (seen.tag == 1) & (seen.picture > len(seen.camera_t_ns) // 2)
    return replace(seen, px=seen.px + later[:, None, None] * np.array([1.4, 0.0]))


SPOILED: dict[str, tuple[str, Callable[[], str]]] = {
    "widths in metres": ("gauge_unit", lambda: _refusal(series(1), gauges_m=GAUGES_M / 1000)),
    "widths in inches": ("gauge_unit", lambda: _refusal(series(1), gauges_m=GAUGES_M / 25.4)),
    "two gauges": ("gauges_few", lambda: _refusal(series(1), gauges_m=GAUGES_M[:2])),
    "a gauge never taken": ("gauges_missing", lambda: _refusal(_blocks(10, 20, 30, 50, 60, 70))),
    "another block taken": ("block_missed", lambda: _refusal(_blocks(10, 20, 26, 30, 40, 50, 60, 70))),
    "one width wrong": (
        "gauge_disagrees",
        lambda: _refusal(series(1), gauges_m=np.array([10, 20, 30, 43, 50, 60, 70]) / 1000),
    ),
    "blocks of another set": ("gauge_scale", lambda: _refusal(series(1), gauges_m=1.4 * GAUGES_M)),
    "there, and no farther": ("holds_few", lambda: _refusal(_blocks(10, 20), gauges_m=GAUGES_M)),
    "jaws that never closed": ("no_holds", lambda: _refusal(_parked(series(1)))),
    "a magnet that slipped far": ("encoder_slips", lambda: _refusal(_slipped(series(1), 0.2), "encoder")),
    "a magnet that slipped a little": ("encoder_slips", lambda: _refusal(_slipped(series(1), 0.04), "encoder")),
    "a magnet that slipped beside tags": ("encoder_slips", lambda: _refusal(_slipped(series(1), 0.2))),
    "a tag that came loose": ("jaw_slips", lambda: _refusal(_loose(series(1)), "tags")),
    "no magnet": ("encoder_no_magnet", lambda: _refusal(series(1), health=EncoderHealth(sent=5000, no_magnet=900))),
    "an encoder that sent nothing": (
        "encoder_silent",
        lambda: _refusal(series(1), "encoder", readings=NO_READINGS, health=EncoderHealth()),
    ),
    "a clock nobody knows": ("encoder_clock", lambda: _refusal(series(1), readings=NO_READINGS)),
    "an encoder that stands still": (
        "encoder_stuck",
        lambda: _refusal(
            series(1), readings=JawReadings(series(1).readings.t_ns, np.full(len(series(1).readings), 77))
        ),
    ),
    "no tag in any picture": ("finger_tags_unseen", lambda: _refusal(series(1), sights=FingerSights.none())),
    "tags printed too small": ("tag_size", lambda: _refusal(_of_size(series(1), 1.1))),
    "tags printed too large": ("tag_size", lambda: _refusal(_of_size(series(1), 0.9))),
}


def _parked(seen: GaugeSeries) -> GaugeSeries:
    first = seen.picture < 10
    early = seen.readings.t_ns < nanoseconds(0.4)
    counts = np.where(early, seen.readings.counts, seen.readings.counts[40])
    at = {"picture": np.tile(seen.picture[first], 30) + np.repeat(np.arange(30), first.sum()) * 10}
    return replace(
        seen,
        readings=JawReadings(seen.readings.t_ns, counts),
        picture=at["picture"],
        tag=np.tile(seen.tag[first], 30),
        px=np.tile(seen.px[first], (30, 1, 1)),
    )


_LONG = ("a magnet that slipped beside tags", "tags printed too large")  # a whole fit each


@pytest.mark.parametrize("spoiled", [pytest.param(s, marks=pytest.mark.slow) if s in _LONG else s for s in SPOILED])
def test_a_spoiled_series_is_refused_with_its_cause(spoiled: str) -> None:
    code, refusal = SPOILED[spoiled]
    assert refusal() == code


@pytest.mark.slow
def test_a_faulty_encoder_does_not_keep_anybody_from_calibrating_the_tags() -> None:
    seen = _slipped(series(1), 0.2)
    jaws = measured(seen, "right", "tags")
    assert jaws.fit.encoder is None
    figures = figures_by_tags(jaws)
    assert figures is not None and judge_jaws(jaws, [figures])[0] == "ok"


@pytest.mark.slow
def test_a_print_of_the_right_size_is_said_to_be_so() -> None:
    size, sigma = tag_size(measured(series(1), "right", "tags"))
    assert abs(size - 1) < 3 * sigma < 0.06


# Holds and gauges by themselves


@settings(max_examples=15)
@given(
    st.lists(st.floats(0.005, 0.06), min_size=1, max_size=6),
    st.floats(0.8, 2.0),
    st.integers(0, 2**32 - 1),
)
def test_holds_are_found_where_jaws_rested_and_nowhere_else(held_m: list[float], hold_s: float, seed: int) -> None:
    t_s, value, rests = [0.0], [0.07], []
    for width in held_m:
        wide = max(width, value[-1]) + 0.02
        for level, after_s in ((wide, 0.3), (wide, 0.6), (width, 0.3)):
            t_s.append(t_s[-1] + after_s)
            value.append(level)
        rests.append(t_s[-1])
        t_s.append(t_s[-1] + hold_s)
        value.append(width)
    t_s += [t_s[-1] + 0.3, t_s[-1] + 1.0]
    value += [held_m[-1] + 0.02] * 2
    at_s = np.arange(0.0, t_s[-1], 0.02)
    signal = np.interp(at_s, t_s, value) + 2e-5 * np.random.default_rng(seed).standard_normal(len(at_s))
    holds = find_holds(nanoseconds(at_s), signal)
    assert len(holds) == len(held_m)
    np.testing.assert_allclose(holds.value_m, held_m, atol=1e-4)
    for start, rest_s in zip(holds.start_ns, rests, strict=True):
        assert 0 <= start / 1e9 - rest_s < 0.4


@given(st.floats(0.9, 1.1), st.floats(-1.0, 1.0), st.integers(1, 3), st.integers(0, 6))
def test_blocks_are_recognised_whatever_the_zero_and_roughly_the_scale(
    scale: float, zero_m: float, rounds: int, more: int
) -> None:
    order = np.concatenate([np.tile([*range(7), *range(6, -1, -1)], rounds), np.arange(more)])
    found = recognise(zero_m + scale * GAUGES_M[order], GAUGES_M)
    assert isinstance(found, Recognised)
    np.testing.assert_array_equal(found.gauge, order)
    assert found.scale == pytest.approx(1 / scale)


def test_blocks_in_any_order_are_told_by_their_widths() -> None:
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(7), 2))
    found = recognise(0.1 + GAUGES_M[order], GAUGES_M)
    assert isinstance(found, Recognised) and not found.in_order
    np.testing.assert_array_equal(found.gauge, order)


# Sessions


def _encoder_session(folder: Path, seen: GaugeSeries) -> Path:
    meta = SessionMeta(id="g", created="2026-01-01T00:00:00Z", origin="capture", clock=SessionClock(kind="monotonic"))
    with session.create(folder, meta, seen.known) as writer, writer.start_take() as take:
        writer.journal.clock_fit("right", 0, 0.0, 0.0, 0.0, take=take.id)
        for last, envelope in encoder_envelopes(seen.readings.t_ns, seen.readings.counts, boot_id=1):
            take.add_wire("right", int(seen.readings.t_ns[last]), envelope)
    return folder


def test_a_session_becomes_a_part_and_a_page_the_same_twice(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = _encoder_session(tmp_path / "s", series(3))
    command = ["calibrate", "gripper", str(folder), "--gauges", "10,20,30,40,50,60,70", "--by", "encoder", "--json"]
    outputs: list[list[bytes]] = []
    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            main(command)
        assert ended.value.code == 0
        told = json.loads(capfd.readouterr().out)
        assert told["ok"] and told["summary"]["parts"] == {"right": "ok"}
        outputs.append([Path(path).read_bytes() for path in told["outputs"]])
    assert outputs[0] == outputs[1]
    part = json.loads(outputs[0][0])
    true = series(3).true.grippers["right"].encoder
    assert true is not None
    found, sigma = part["values"]["encoder"], part["sigma"]["encoder"]
    assert abs(found["metres_per_rad"] - true.metres_per_rad) < 4 * sigma["metres_per_rad"]
    assert part["values"]["T_cam_tcp"] is None and part["uid"] == "virtual-right-00000000"
    assert set(part["inputs"]) == {"rig.json", "raw/0001/seg-0000.mcap"}


def test_a_refused_series_still_leaves_its_part_and_page_in_chinese(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = _encoder_session(tmp_path / "s", series(3))
    command = ["calibrate", "gripper", str(folder), "--gauges", ".01,.02,.03", "--by", "encoder", "--lang", "zh"]
    with pytest.raises(SystemExit) as ended:
        main([*command, "--out", str(tmp_path / "out")])
    assert ended.value.code == 1
    assert "量块单位错误" in capsys.readouterr().err
    part = json.loads((tmp_path / "out/gripper-right.json").read_text())
    assert part["verdict"] == "refused" and part["values"] == {}
    assert "不合格" in (tmp_path / "out/gripper-right.html").read_text(encoding="utf-8")


def test_a_gripper_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    folder = _encoder_session(tmp_path / "s", series(3))
    with pytest.raises(CalibrationError, match="no left gripper"):
        calibrate_gripper(folder, GAUGES_M.tolist(), side="left")
    with pytest.raises(CalibrationError, match="no list of widths"):
        calibrate_gripper(folder, [0.01, np.nan])


@pytest.mark.slow
def test_a_rendered_take_calibrates_jaws_that_reconstruction_then_reads_right(tmp_path: Path) -> None:
    params = sim.SimulationParams(task="jaws", scatter=PRINTED)
    folder = sim.simulate(tmp_path / "s", scene="bench", rig="gripper", seconds=58.0, seed=0, params=params)
    drawn, true = session.read_rig(folder / "rig.json"), session.read_rig(folder / "truth/rig.json")
    session.write_rig(tmp_path / "lens.json", replace(drawn, cameras=true.cameras))
    (result,) = calibrate_gripper(folder, GAUGES_M.tolist(), rig_path=tmp_path / "lens.json")
    part = json.loads(result.outputs[0].read_text())
    assert part["verdict"] == "ok"
    # What a part holds goes into rig.json as it is.
    rig_file = json.loads((tmp_path / "lens.json").read_text())
    values = part["values"]
    told = {"T_cam_tcp": values["T_cam_tcp"], "tags": values["tags"], "width": {"encoder": values["encoder"]}}
    rig_file["grippers"]["right"] = told
    (tmp_path / "calibrated.json").write_text(json.dumps(rig_file))
    gripper = session.read_rig(tmp_path / "calibrated.json").grippers["right"]
    take, camera = session.read(folder).take("0001"), true.cameras["right"]
    stamps = take.camera_stamps("right")
    moving = session.read_trajectory(folder / "truth/right_tcp.parquet")
    true_m = pq.read_table(folder / "truth/right_tcp.parquet")["width_m"].to_numpy()
    assert np.array_equal(moving.camera_t_ns, stamps)
    for by, readings in (("tags", NO_READINGS), ("encoder", take.jaw("right"))):
        alone = replace(gripper, tags=()) if by == "encoder" else replace(gripper, encoder=None)
        width = jaw_width(take.frames("right"), stamps, 0.0, camera.camera, alone, readings)
        off_m = np.abs(width.width_m - true_m)
        print(f"virtual rig, jaws {by}: worst {1e3 * np.nanmax(off_m):.3f} mm")
        assert np.nanmax(off_m[(true_m > 0.0095) & (true_m < 0.0705)]) < 1.5e-4


def test_drawn_of_a_gripper_without_a_lens_has_nothing_for_tags() -> None:
    known = series(1).known
    bare, _ = drawn_of(replace(known, cameras={}), "right")
    assert bare.camera is None and bare.T_cam_tcp is None and bare.tags == ()
