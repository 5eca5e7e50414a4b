"""Hands as grippers, grippers as hands, and a take's hands on a robot's, as files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pinocchio", reason="pip install 'handcap[retarget,robots]'")

from handcap import session as session_store
from handcap.errors import RetargetError
from handcap.geometry import Array, se3, so3_exp
from handcap.retarget import read_robot, run_session
from handcap.retarget.hands import T_world_base, gripper_from_hand, person, pinch_grasp
from handcap.sim.hand import grips
from handcap.sim.hand.hand import HandShape
from handcap.types import Side, Trajectory
from tests.recording import jpeg, new_session, record
from tests.replays import entities
from tests.robot_hands import (
    HANDS,
    RATE_HZ,
    joints_of,
    moving,
    robot_hand,
    stamps,
    tips_ours,
    work,
)

pytestmark = pytest.mark.usefixtures("robot_collections")


def in_world(joints: Array, seconds_per_turn: float = 4.0) -> tuple[Array, Array]:
    """Poses (n, 4, 4) of a wrist that goes about, and its joints (n, 21, 3) there."""
    t = stamps(len(joints)) / 1e9
    turn = t[:, None] * [0.2, 0.1, 2 * np.pi / seconds_per_turn]
    T = se3(so3_exp(turn), np.stack([0.4 + 0.1 * np.sin(t), 0.05 * t, 0.9 + 0 * t], axis=1))
    return T, np.einsum("nij,nkj->nki", T[:, :3, :3], joints) + T[:, None, :3, 3]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("length_m", [0.17, 0.2])
def test_a_hand_is_a_gripper_as_wide_as_its_pads_are_apart_wherever_it_is(side: Side, length_m: float):
    shape = HandShape(side=side, length_m=length_m)
    widths = np.linspace(0.0, 0.06, 7)
    angles = np.stack([grips.pinch(width, shape) for width in widths])
    T, joints_world = in_world(joints_of(angles, side, length_m))
    jaws = gripper_from_hand(T, person(T, joints_world))
    np.testing.assert_allclose(jaws.width_m, widths, atol=0.004)
    grip = np.stack([grips.T_wrist_grip(a, shape) for a in angles])
    between = T @ grip
    assert np.linalg.norm(jaws.T_world_tcp[:, :3, 3] - between[:, :3, 3], axis=1).max() < 0.012
    # z away from the palm, x along the opening: within 25 degrees of the thumb's way to the index finger alone
    for axis in (0, 2):
        cosine = np.sum(jaws.T_world_tcp[:, :3, axis] * between[:, :3, axis], axis=1)
        assert cosine.min() > np.cos(np.deg2rad(25))


def test_an_unseen_hand_is_no_gripper_and_sigma_is_known_only_where_the_recording_tells():
    joints = joints_of(moving(grips.flat(), grips.fist()))
    T, world = in_world(joints)
    world[3:6] = np.nan
    sigma = np.full(world.shape[:2], 0.01)
    sigma[10] = np.nan
    jaws = gripper_from_hand(T, person(T, world, sigma))
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(jaws.width_m)), [3, 4, 5])
    assert np.isnan(jaws.T_world_tcp[3:6]).all() and np.isnan(jaws.cov[[3, 4, 5, 10]]).all()
    assert np.isnan(jaws.width_sigma_m[10]) and 0.01 < jaws.width_sigma_m[0] < 0.02
    assert np.all(np.linalg.eigvalsh(jaws.cov[0]) > 0)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", HANDS)
def test_a_robot_hand_pinches_as_wide_as_jaws_were_open(name: str, side: Side):
    hand = robot_hand(name, side)
    grasp = pinch_grasp(hand)
    assert hand.robot.palm is not None and grasp.stroke_m > 0.05
    width = np.random.default_rng(0).uniform(0, grasp.stroke_m, 50)
    q = grasp.joints(width)
    tips = tips_ours(hand, q)
    names = [finger.name for finger in hand.fingers]
    gap_m = np.linalg.norm(tips[:, names.index("index")] - tips[:, names.index("thumb")], axis=-1)
    np.testing.assert_allclose(gap_m, hand.robot.palm.touch_m + width, atol=0.0012)
    assert np.all(q >= hand.kinematics.joint_low - 1e-9) and np.all(q <= hand.kinematics.joint_high + 1e-9)


def test_beyond_its_stroke_a_pinch_is_as_wide_as_it_can_and_unknown_stays_unknown():
    grasp = pinch_grasp(robot_hand("inspire"))
    q = grasp.joints(np.array([grasp.stroke_m, 1.0, np.nan, -0.01, 0.0]))
    np.testing.assert_array_equal(q[0], q[1])
    np.testing.assert_array_equal(q[3], q[4])
    assert np.isnan(q[2]).all()


def test_a_robots_base_is_placed_so_that_its_pads_are_where_the_jaws_were():
    hand = robot_hand("allegro")
    grasp = pinch_grasp(hand)
    n = 5
    T_tcp = se3(so3_exp(np.random.default_rng(0).normal(0, 1, (n, 3))), np.random.default_rng(1).normal(0, 1, (n, 3)))
    width = grasp.widths_m[[0, 3, 9, 15, 0]].copy()
    width[4] = np.nan
    T_base = T_world_base(grasp, T_tcp, width)
    k = hand.kinematics
    assert hand.thumb is not None
    at = k.points(grasp.u[[0, 3, 9, 15]])
    index = next(finger for finger in hand.fingers if finger.name == "index")
    middle = (at[:, hand.thumb.tip] + at[:, index.tip]) / 2
    there = np.einsum("nij,nj->ni", T_base[:4, :3, :3], middle) + T_base[:4, :3, 3]
    np.testing.assert_allclose(there, T_tcp[:4, :3, 3], atol=1e-9)
    assert np.isnan(T_base[4]).all()


def write_reconstructed(folder: Path, sides: dict[Side, Array], widths: dict[Side, Array] | None = None) -> None:
    """Take 0001 as `handcap reconstruct` leaves it: hands (n, 21, 3) in their wrist frame, and grippers' jaws."""
    target = folder / "derived/0001/reconstruct"
    target.mkdir(parents=True, exist_ok=True)
    for side, joints in sides.items():
        T, world = in_world(joints)
        tracked = np.asarray(np.isfinite(world).all(axis=(1, 2)))
        T[~tracked] = np.nan
        cov = np.tile(np.diag([1e-4] * 3 + [1e-5] * 3), (len(T), 1, 1))
        pose = Trajectory(f"{side}_hand", stamps(len(T)), stamps(len(T)), T, cov, tracked)
        sigma = np.where(tracked[:, None], np.full(joints.shape[:2], 0.006), np.nan)
        extra = {"joints_world": world.reshape(-1, 63), "joint_sigma_m": sigma, "confidence": np.ones(len(T))}
        session_store.write_trajectory(target / f"{side}_hand.parquet", pose, extra)
    for side, width in (widths or {}).items():
        T, _ = in_world(np.zeros((len(width), 21, 3)))
        cov = np.tile(1e-6 * np.eye(6), (len(T), 1, 1))
        pose = Trajectory(f"{side}_tcp", stamps(len(T)), stamps(len(T)), T, cov, np.ones(len(T), bool))
        extra = {"width_m": width, "width_sigma_m": np.full(len(T), 0.001)}
        session_store.write_trajectory(target / f"{side}_tcp.parquet", pose, extra)
    session_store.write_report(target, {"verdict": "ok", "causes": [], "spans_ok_s": []})


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A session with one take that nobody reconstructed yet."""
    folder = tmp_path / "session"
    with new_session(folder) as writer, writer.start_take() as take:
        record(take, 0.5, jpeg())
    return folder


def columns(path: Path) -> dict[str, list[float | None]]:
    import pyarrow.parquet as pq

    return pq.read_table(path).to_pydict()


def test_both_hands_of_a_take_become_one_file_with_a_verdict(recording: Path):
    left = work("left")
    left[40:90] = np.nan
    write_reconstructed(recording, {"left": left, "right": work()})
    (result,) = run_session(recording, [read_robot("shadow")])
    assert result.verdict is not None and result.verdict.verdict == "partial"
    assert [cause.code for cause in result.verdict.causes] == ["robot_hand_unseen", "robot_slow"]
    assert result.verdict.causes[0].body == "left_hand"
    told = columns(recording / "derived/0001/retarget/shadow.parquet")
    assert told["t_ns"] == stamps(len(left)).tolist()
    # Slower than the person, both hands keep the same time, and no joint is faster than it can be.
    t_robot_s = np.array(told["t_robot_ns"], float) / 1e9
    assert t_robot_s[0] == 0 and np.all(np.diff(t_robot_s) >= 1 / RATE_HZ - 1e-6)
    scale = result.verdict.numbers["time_scale"]
    assert scale == pytest.approx(t_robot_s[-1] / (stamps(len(left))[-1] / 1e9), abs=1e-3) and scale > 1.02
    for side in ("left", "right"):
        assert result.verdict.numbers["sides"][side]["speed_share"] <= 1 + 1e-6
    # Where an arm must carry the hand's base to: it turns as the wrist does.
    place = np.array([told[f"right_base_p_world_{axis}"] for axis in "xyz"], float).T
    T, _ = in_world(np.zeros((len(left), 21, 3)))
    offset = np.einsum("nji,nj->ni", T[:, :3, :3], place - T[:, :3, 3])
    np.testing.assert_allclose(offset, np.broadcast_to(offset[0], offset.shape), atol=1e-9)
    assert told["left_FFJ3"][60] is None and told["right_FFJ3"][60] is not None
    assert told["left_reachable"][60] is None and told["reachable"][10] is True
    assert told["position_error_m"][60] == told["right_position_error_m"][60]
    report = session_store.read_report(recording / "derived/0001/retarget")
    shadow = report["robots"]["shadow"]
    assert shadow["numbers"]["sides"]["right"]["reachable"] > 0.95
    assert set(shadow["inputs_sha256"]) == {
        f"derived/0001/reconstruct/{side}_hand.parquet" for side in ("left", "right")
    }
    assert report["verdict"] == "partial" and report["spans_ok_s"]


def test_a_second_run_gives_the_same_bytes_and_keeps_other_robots(recording: Path):
    write_reconstructed(recording, {"right": work()})
    folder = recording / "derived/0001/retarget"
    run_session(recording, [read_robot("allegro")])
    first = (folder / "allegro.parquet").read_bytes()
    run_session(recording, [read_robot("inspire")])
    assert (folder / "allegro.parquet").read_bytes() == first
    report = (folder / "report.json").read_bytes()
    run_session(recording, [read_robot("allegro"), read_robot("inspire")])
    assert (folder / "allegro.parquet").read_bytes() == first and (folder / "report.json").read_bytes() == report
    assert set(json.loads(report)["robots"]) == {"allegro", "inspire"}


def test_what_was_made_of_an_older_reconstruction_is_not_kept(recording: Path):
    write_reconstructed(recording, {"right": work()})
    run_session(recording, [read_robot("allegro")])
    write_reconstructed(recording, {"right": work()[:90]})
    run_session(recording, [read_robot("inspire")])
    assert not (recording / "derived/0001/retarget/allegro.parquet").exists()


def test_a_gripper_becomes_a_pinch(recording: Path):
    width = np.linspace(0.0, 0.06, 60)
    width[10:20] = np.nan
    write_reconstructed(recording, {}, {"right": width})
    (result,) = run_session(recording, [read_robot("leap")])
    assert result.verdict is not None
    told = columns(recording / "derived/0001/retarget/leap.parquet")
    assert told["0"][15] is None and told["reachable"][15] is None and told["position_error_m"] == [None] * 60
    assert told["reachable"][30] is True
    report = session_store.read_report(recording / "derived/0001/retarget")
    told_of = report["robots"]["leap"]["numbers"]["sides"]["right"]
    assert told_of["follows"] == "jaws" and told_of["stroke_m"] > 0.05
    assert told["base_p_world_x"][30] is not None and told["base_p_world_x"][15] is None


def test_jaws_that_opened_wider_than_a_pinch_are_told_and_spoil_nothing(recording: Path):
    write_reconstructed(recording, {}, {"right": np.linspace(0.0, 0.3, 90)})
    (result,) = run_session(recording, [read_robot("inspire")])
    assert result.verdict is not None and result.verdict.verdict == "ok"
    (cause,) = result.verdict.causes
    assert cause.code == "robot_stroke" and cause.measured == pytest.approx(300)


def test_a_gripper_follows_a_bare_hand(recording: Path):
    shape = HandShape()
    write_reconstructed(recording, {"right": joints_of(moving(grips.pinch(0.05, shape), grips.pinch(0.0, shape)))})
    (result,) = run_session(recording, [read_robot("panda")])
    assert result.verdict is not None
    told = columns(recording / "derived/0001/retarget/panda.parquet")
    assert told["panda_finger_joint1"][0] == pytest.approx(0.025, abs=0.004)  # half the opening
    assert told["panda_finger_joint1"][-1] == pytest.approx(0.0, abs=0.003)


def test_a_take_with_nothing_to_follow_says_so(recording: Path):
    write_reconstructed(recording, {})
    with pytest.raises(RetargetError, match="no hand that") as error:
        run_session(recording, [read_robot("allegro")])
    assert error.value.mend


def test_a_replay_shows_robot_and_person(recording: Path, tmp_path: Path):
    left = work("left")
    left[:40] = np.nan
    write_reconstructed(recording, {"left": left}, {"right": np.linspace(0.0, 0.05, len(left))})
    plane = {"kind": "surface", "height_m": 0.8, "polygon_world": [[0, 0, 0.8], [1, 0, 0.8], [1, 1, 0.8]]}
    reconstructed = recording / "derived/0001/reconstruct"
    session_store.write_report(reconstructed, {"verdict": "ok", "causes": [], "spans_ok_s": [], "planes": [plane]})
    out = tmp_path / "hands.rrd"
    (result,) = run_session(recording, [read_robot("allegro")], save=out)
    assert out in result.outputs
    found, at = entities(out), "/take_0001/allegro"
    assert "TextDocument:text" in found[f"{at}/verdict"]
    for path in ("person/left", "robot/left", "robot/right"):
        assert "LineStrips3D:strips" in found[f"{at}/world/{path}"]
    for plot in ("joints/left", "joints/right", "limits", "errors/left", "errors/allowed_left"):
        assert {"Scalars:scalars", "SeriesLines:names"} <= found[f"{at}/{plot}"]
    assert "Mesh3D:vertex_positions" in found[f"{at}/world/surfaces/0"]
    assert f"{at}/errors/right" not in found  # it held a gripper: nobody knows where fingertips should be


def test_the_command_tells_of_fingertips(recording: Path):
    from typer.testing import CliRunner

    from handcap.cli.app import app

    write_reconstructed(recording, {"right": work()})
    for lang, says in (("en", "right hand: fingertips off by"), ("zh", "右手:指尖误差")):
        done = CliRunner().invoke(app, ["retarget", str(recording), "--robot", "allegro", "--lang", lang])
        assert done.exit_code == 0, done.output
        assert says in done.output
