"""A whole rig in one world: tags tie the grippers to the head, jaws are read, one verdict is given."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Collection, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from handcap import session, sim
from handcap.cameras import KannalaBrandt4
from handcap.child import ChildEnded
from handcap.encoder import JawEncoder
from handcap.errors import FormatError
from handcap.formats.lerobot import export_lerobot
from handcap.formats.tum import export_tum
from handcap.geometry import Array, inverse, transform
from handcap.measure.tags import find_tags, square_corners
from handcap.reconstruct import recorded as on_disk
from handcap.reconstruct import run_session
from handcap.reconstruct.helpers import nursery_ahead
from handcap.reconstruct.jaw import JawParams, jaw_width
from handcap.reconstruct.judged import unnamed_gaps
from handcap.reconstruct.result import field_params
from handcap.reconstruct.rig_take import Recording
from handcap.reconstruct.score import carried_errors_m, in_world_of, score
from handcap.reconstruct.whole import solve_device
from handcap.sim.gripper import T_CAM_TCP, tags
from handcap.types import Frame, Gripper, JawReadings, Stamps

DERIVED = Path("derived/0001/reconstruct")
LENS = KannalaBrandt4(640, 480, (212.4, 212.1, 318.2, 241.3, -0.015, 0.0042, -0.0018, 0.0002))


@pytest.fixture(scope="module")
def take(demo: tuple[Path, subprocess.CompletedProcess[str]]) -> Path:
    """Ten seconds of housework with a full rig in a kitchen, reconstructed; nobody may change it."""
    folder, done = demo
    assert done.returncode == 0, done.stderr
    return folder / "session"


def test_the_whole_rig_is_accepted_and_every_body_is_written(take: Path) -> None:
    report = session.read_report(take / DERIVED)
    assert report["verdict"] == "ok" and report["causes"] == []
    assert set(report["bodies"]) == set(report["rel_sigma_1s"]) == {"head", "left_tcp", "right_tcp"}
    assert set(report["time_offset_s"]) == {"head_left", "left", "right"}
    for body in report["bodies"]:
        rows = session.read_trajectory(take / DERIVED / f"{body}.parquet")
        assert rows.body == body and rows.tracked.mean() > 0.95 and np.isfinite(rows.cov[rows.tracked]).all()
        assert len(session.read_trajectory(take / DERIVED / f"{body}_imu.parquet")) > 8 * len(rows)


def test_tools_lie_within_millimetres_in_the_world_of_the_head(take: Path) -> None:
    truth = session.read_trajectory(take / "truth/head_imu.parquet")
    head = session.read_trajectory(take / DERIVED / "head.parquet")
    world = in_world_of(truth, head)
    assert score(truth, head).ate_m.rmse <= 0.005
    for body in ("left_tcp", "right_tcp"):
        exact = session.read_trajectory(take / f"truth/{body}.parquet")
        off_m = carried_errors_m(world, exact, session.read_trajectory(take / DERIVED / f"{body}.parquet"))
        print(f"virtual rig, {body}: {1e3 * np.median(off_m):.2f} mm median, {1e3 * np.quantile(off_m, 0.95):.2f} p95")
        assert np.median(off_m) <= 0.003 and np.quantile(off_m, 0.95) <= 0.008


def test_the_grippers_lie_within_millimetres_of_each_other(take: Path) -> None:
    found, exact = ({s: _poses(take / f / f"{s}_tcp.parquet") for s in ("left", "right")} for f in (DERIVED, "truth"))
    n = min(len(T) for T in [*found.values(), *exact.values()])
    apart = [inverse(T["left"][:n]) @ T["right"][:n] for T in (found, exact)]
    off_m = np.linalg.norm(apart[0][:, :3, 3] - apart[1][:, :3, 3], axis=1)
    assert np.nanmedian(off_m) <= 0.003


def _poses(path: Path) -> Array:
    return session.read_trajectory(path).T_world_body


def test_jaws_are_read_to_a_third_of_a_millimetre_and_know_it(take: Path) -> None:
    for side in ("left", "right"):
        found, exact = (pq.read_table(take / folder / f"{side}_tcp.parquet") for folder in (DERIVED, Path("truth")))
        off_m = np.abs(found["width_m"].to_numpy() - exact["width_m"].to_numpy())
        assert np.nanmax(off_m) <= 3e-4
        sigma_m = found["width_sigma_m"].to_numpy()
        assert np.mean(off_m < 2 * sigma_m) > 0.9 and 0.5 < np.mean(off_m < sigma_m) < 0.9


@pytest.mark.slow
def test_the_field_pass_foretells_the_verdict_and_touches_no_trajectory(take: Path, tmp_path: Path) -> None:
    folder = tmp_path / "session"
    shutil.copytree(take, folder)
    before = {path.name: path.read_bytes() for path in (folder / DERIVED).iterdir()}
    (result,) = run_session(folder, field=True)
    whole = session.read_report(folder / DERIVED)
    assert result.verdict == whole["verdict"] and result.report["stage"] == "field"
    assert set(result.report["bodies"]) == set(whole["bodies"])
    assert {path.name for path in result.outputs} == {"report.json", "timing.json"}
    assert all(path.parent.name == "field" for path in result.outputs)
    assert {path.name: path.read_bytes() for path in (folder / DERIVED).iterdir()} == before


@pytest.mark.slow
def test_a_gripper_that_rests_is_placed_by_its_tags_alone(tmp_path: Path) -> None:
    folder = tmp_path / "take"
    sim.simulate(folder, rig="full", seconds=10.0, seed=400, params=sim.SimulationParams(task="tidy"))
    (result,) = run_session(folder)
    assert result.verdict == "ok"
    assert result.report["bodies"]["right_tcp"]["numbers"]["by_tags_alone"] == 1.0
    world = in_world_of(
        session.read_trajectory(folder / "truth/head_imu.parquet"),
        session.read_trajectory(folder / DERIVED / "head.parquet"),
    )
    found = session.read_trajectory(folder / DERIVED / "right_tcp.parquet")
    off_m = carried_errors_m(world, session.read_trajectory(folder / "truth/right_tcp.parquet"), found)
    assert found.tracked.mean() > 0.95 and np.median(off_m) <= 0.003


@pytest.mark.slow
def test_one_gripper_alone_has_a_world_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "take"
    sim.simulate(folder, rig="gripper", seconds=5.0, seed=401, params=sim.SimulationParams(task="tidy"))
    (result,) = run_session(folder)
    assert result.verdict == "ok"
    exact = session.read_trajectory(folder / "truth/right_tcp.parquet")
    found = session.read_trajectory(folder / DERIVED / "right_tcp.parquet")
    assert score(exact, found).ate_m.rmse <= 0.005
    export_tum(session.read(folder), tmp_path / "tum")
    assert (tmp_path / "tum/0001_right_tcp.txt").exists()
    with pytest.raises(FormatError, match="has no head"):
        export_lerobot(session.read(folder), tmp_path / "lerobot")
    assert not (tmp_path / "lerobot").exists()


def drawn_square(corners: Array, blur_px: float = 0.6) -> np.ndarray:
    """A dark square on white, drawn sixteen times finer, blurred as a lens does."""
    fine = 16
    canvas = np.full((64 * fine, 64 * fine), 220, np.uint8)
    cv2.fillPoly(canvas, [np.rint((corners + 0.5) * fine * 256 - 128).astype(np.int32)], 30, shift=8)
    blurred = cv2.GaussianBlur(canvas, (0, 0), blur_px * fine)
    return cv2.resize(blurred, (64, 64), interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize("edge_px", [14.0, 20.0, 31.0])
def test_corners_of_a_square_are_found_to_a_twentieth_of_a_pixel(edge_px: float) -> None:
    rng = np.random.default_rng(int(edge_px))
    off: list[Array] = []
    for _ in range(20):
        turn, middle = rng.uniform(0, np.pi / 2), 32 + rng.uniform(-1, 1, 2)
        square = edge_px / 2 * np.array([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])
        R = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        exact = square @ R.T + middle
        found, good = square_corners(drawn_square(exact), (exact + rng.uniform(-0.7, 0.7, (4, 2)))[None])
        assert good.all()
        off.append(found[0] - exact)
    assert np.sqrt(np.mean(np.array(off) ** 2)) < 0.05


def test_a_tag_of_another_family_or_an_empty_picture_gives_nothing() -> None:
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50)
    picture = np.full((200, 200), 255, np.uint8)
    picture[50:150, 50:150] = cv2.aruco.generateImageMarker(dictionary, 7, 100)
    assert [tag.id for tag in find_tags(picture, ("4x4_50",))] == [7]
    assert find_tags(picture, ("36h11",)) == []
    assert find_tags(np.zeros((200, 200), np.uint8), ("36h11", "4x4_50")) == []


ENCODER = JawEncoder(0.0203, 1.1, 0.006, 0.4, np.deg2rad(0.043))
GRIPPER = Gripper(T_CAM_TCP, tags("right"), ENCODER)
OPENING_M = 0.03 + 0.025 * np.sin(np.linspace(0, 9, 30))
STAMPS = 1_000_000_000 + 50_000_000 * np.arange(30, dtype=np.int64)


@cache
def fingers_seen(hidden: frozenset[str] = frozenset()) -> list[Frame]:
    """Pictures of nothing but the finger tags, at OPENING_M."""
    frames: list[Frame] = []
    for t_ns, opening_m in zip(STAMPS, OPENING_M, strict=True):
        picture = np.full((480 * 4, 640 * 4), 225, np.uint8)
        for tag in GRIPPER.tags:
            if tag.family != "4x4_50" or tag.body in hidden:
                continue
            sign = -0.5 if tag.body == "finger_a" else 0.5
            corners_tcp = tag.corners_body + [sign * opening_m, 0, 0]
            px, _ = LENS.project(transform(T_CAM_TCP, corners_tcp))
            code = cv2.aruco.generateImageMarker(cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50), tag.id, 120)
            source = np.array([[-0.5, -0.5], [119.5, -0.5], [119.5, 119.5], [-0.5, 119.5]], np.float32)
            target = ((px + 0.5) * 4 - 0.5).astype(np.float32)
            H = cv2.getPerspectiveTransform(source, target)
            size = (picture.shape[1], picture.shape[0])
            mask = cv2.warpPerspective(np.full((120, 120), 255, np.uint8), H, size, flags=cv2.INTER_LINEAR)
            warped = cv2.warpPerspective(code, H, size, flags=cv2.INTER_LINEAR)
            share = mask.astype(float) / 255
            picture = np.rint(picture * (1 - share) + (30 + 0.75 * warped) * share).astype(np.uint8)
        fine = cv2.GaussianBlur(picture, (0, 0), 0.6 * 4)
        frames.append(Frame(int(t_ns), "right", cv2.resize(fine, (640, 480), interpolation=cv2.INTER_AREA)))
    return frames


def readings() -> JawReadings:
    t_ns = np.arange(STAMPS[0] - 20_000_000, STAMPS[-1] + 20_000_000, 10_000_000)
    opening_m = np.interp(t_ns, STAMPS, OPENING_M)
    return JawReadings(t_ns, ENCODER.counts(opening_m, np.random.default_rng(0)))


NO_READINGS = JawReadings(np.empty(0, np.int64), np.empty(0, np.int64))


@pytest.mark.parametrize(
    ("hidden", "gripper", "encoder"),
    [
        (set(), GRIPPER, NO_READINGS),
        ({"finger_a"}, GRIPPER, NO_READINGS),
        ({"finger_a", "finger_b"}, GRIPPER, readings()),
        (set(), replace(GRIPPER, encoder=None), readings()),
        (set(), GRIPPER, readings()),
    ],
    ids=["tags only", "one tag", "encoder only", "encoder nobody calibrated", "both"],
)
def test_jaws_are_read_from_whatever_there_is(hidden: set[str], gripper: Gripper, encoder: JawReadings) -> None:
    width = jaw_width(fingers_seen(frozenset(hidden)), STAMPS, 0.0, LENS, gripper, encoder)
    off_m = np.abs(width.width_m - OPENING_M)
    assert np.isfinite(off_m).mean() > 0.95 and np.nanmax(off_m) < 3e-4
    assert width.causes == ()


@pytest.mark.parametrize("told_m", [None, 0.0, 2e-5, 3e-4])
def test_jaws_are_known_as_well_as_the_surer_of_tags_and_encoder_was_calibrated(told_m: float | None) -> None:
    gripper = replace(GRIPPER, encoder=replace(ENCODER, opening_sigma_m=told_m))
    width = jaw_width(fingers_seen(), STAMPS, 0.0, LENS, gripper, readings())
    surest_m = min(JawParams().calibration_m, np.inf if told_m is None else told_m)
    assert (width.sigma_m >= 0.99 * surest_m).all() and (width.sigma_m < max(1.3 * surest_m, 3e-5)).all()


def test_jaws_that_nothing_tells_of_are_unknown_and_named() -> None:
    width = jaw_width(fingers_seen(frozenset({"finger_a", "finger_b"})), STAMPS, 0.0, LENS, GRIPPER, NO_READINGS)
    assert np.isnan(width.width_m).all() and [cause.code for cause in width.causes] == ["jaw_unseen"]


def test_a_magnet_that_moved_is_noticed_by_the_tags() -> None:
    moved = replace(GRIPPER, encoder=replace(ENCODER, zero_rad=ENCODER.zero_rad + 0.2))
    width = jaw_width(fingers_seen(), STAMPS, 0.0, LENS, moved, readings())
    assert [cause.code for cause in width.causes] == ["jaw_disagrees"]


@pytest.mark.slow
def test_a_gripper_whose_cube_nobody_saw_is_placed_by_the_room_and_a_quick_pass_names_it(
    take: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "take"
    shutil.copytree(take, folder, ignore=shutil.ignore_patterns("derived"))
    rig = session.read_rig(folder / "rig.json")
    bare = replace(rig.grippers["left"], tags=tuple(t for t in rig.grippers["left"].tags if t.body != "tcp"))
    session.write_rig(folder / "rig.json", replace(rig, grippers={**rig.grippers, "left": bare}))
    (quick,) = run_session(folder, field=True)
    assert quick.verdict == "partial"
    assert [(cause.code, cause.body) for cause in quick.causes] == [("not_tied", "left_tcp")]
    (result,) = run_session(folder)
    assert result.verdict == "ok" and result.causes == ()
    assert (folder / DERIVED / "right_tcp.parquet").exists() and (folder / DERIVED / "left_tcp.parquet").exists()


def test_a_take_that_is_not_whole_says_where_even_if_no_gap_is_long() -> None:
    whole, tenth = [(0, 10 * 10**9)], 10**8
    lost = [(0, 83 * tenth), (86 * tenth, 97 * tenth)]
    (cause,) = unnamed_gaps({"head": whole, "left_tcp": [lost[0]]}, 0, 10 * 10**9)
    assert (cause.code, cause.body, cause.span_s) == ("tracking_lost", "left_tcp", (8.3, 10.0))
    (longest,) = unnamed_gaps({"head": whole, "right_tcp": lost}, 0, 99 * tenth)
    assert longest.body == "right_tcp" and longest.span_s == (8.3, 8.6)


def test_helpers_that_were_begun_ahead_end_with_their_take(take: Path, tmp_path: Path) -> None:
    folder = tmp_path / "session"
    shutil.copytree(take, folder, ignore=shutil.ignore_patterns("derived", "truth"))
    with nursery_ahead(twice=False) as nursery:
        run_session(folder, field=True, nursery=nursery)
    ahead = (folder / "derived/0001/field/report.json").read_bytes()
    run_session(folder, field=True)
    assert (folder / "derived/0001/field/report.json").read_bytes() == ahead
    if nursery is not None:
        with pytest.raises(ChildEnded):
            nursery.forked()


def test_a_device_that_some_of_its_pictures_cannot_place_is_placed_by_all(take: Path) -> None:
    recorded_session = session.read(take)
    some = on_disk.recorded(recorded_session, recorded_session.take("0001"), every=16, share=False)
    assert solve_device(replace(some, all_pictures=None), "head", field_params()).chain is None
    chain = solve_device(some, "head", field_params()).chain
    assert chain is not None and len(chain.camera_t_ns) > 10 * len(some.stamps("head_left"))


def test_a_gap_that_all_pictures_bridge_is_not_made_longer_by_using_half_of_them(take: Path) -> None:
    recorded_session = session.read(take)
    half, every = (
        on_disk.recorded(recorded_session, recorded_session.take("0001"), every=k, share=False) for k in (2, 1)
    )
    lost = set(np.delete(every.stamps("head_left")[41:51], 8).tolist())  # 0.45 s without a picture; of half, 0.6 s

    def without(recording: Recording) -> Recording:
        def stamps(camera: str) -> Stamps:
            return np.array([t for t in recording.stamps(camera).tolist() if t not in lost], np.int64)

        def frames(camera: str, of: int = 1, only: Collection[int] | None = None) -> Iterator[Frame]:
            wanted = set(stamps(camera)[::of].tolist())
            return recording.frames(camera, only=wanted if only is None else wanted.intersection(only))

        return replace(recording, stamps=stamps, frames=frames)

    def causes(recording: Recording) -> list[str]:
        return [cause.code for cause in solve_device(recording, "head", field_params()).judgement.causes]

    assert "frames_missing" in causes(replace(without(half), all_pictures=None))
    assert "frames_missing" not in causes(replace(without(half), all_pictures=lambda: without(every)))
