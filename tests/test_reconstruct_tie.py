"""Two motions known in closed form, seen by exact cameras: the tie finds where one lies in the other's world."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from head_motion import IDEAL, START_NS, T_IMU_CAM, HeadMotion, times

from handcap.cameras import KannalaBrandt4
from handcap.geometry import Array, inverse, se3, se3_exp, se3_log, transform, yaw_rotation
from handcap.reconstruct.carried import carried
from handcap.reconstruct.chain import Chain
from handcap.reconstruct.sightings import Sightings
from handcap.reconstruct.tie import Tied, tie
from handcap.reconstruct.uncertainty import PoseUncertainty
from handcap.sim.gripper import tags
from handcap.types import Device, ImuSamples, MountedCamera, Stamps, Tag

LENS = KannalaBrandt4(640, 480, (265.3, 265.1, 323.4, 236.8, -0.012, 0.004, -0.0021, 0.0003))
T_IMU_TCP = inverse(se3(yaw_rotation(0.3), [0.01, -0.02, -0.2]))
LENGTH_S, DT_S = 3.0, 0.004
CUBE = tuple(tag for tag in tags("left") if tag.body == "tcp")


def chain_of(motion: HeadMotion, dt_imu_cam_s: float = 0.0) -> Chain:
    """What a perfect reconstruction would say of a motion, sure to 0.3 mm and 0.02°."""
    states = motion.states(times(LENGTH_S, 0.2))
    n = len(states)
    cov = np.zeros((n, 6, n, 6))
    for i in range(1, n):
        cov[i, :, i, :] = np.diag([1e-7] * 3 + [1e-7] * 3)
    camera_t_ns = times(LENGTH_S, 0.05) - round(1e9 * dt_imu_cam_s)
    tracked = np.ones(len(camera_t_ns), bool)
    return Chain(
        states, PoseUncertainty(cov, 0.0, 1e-4), motion.imu(LENGTH_S), IDEAL, camera_t_ns, dt_imu_cam_s, tracked
    )


HEAD = HeadMotion.drawn(11)


def small(motion: HeadMotion) -> HeadMotion:
    """The same with a quarter of the way, so that it stays in view; it turns as much."""
    return HeadMotion(motion.amplitude * [1, 1, 1, 0.25, 0.25, 0.25], motion.omega, motion.phase)


GRIPPER = small(HeadMotion.drawn(12))


def T_world_gripper() -> Array:
    """Where the gripper's world lies in the head's: 0.6 m before the head's camera in mid-take."""
    middle = np.array([START_NS + int(LENGTH_S * 5e8)])
    T_world_cam = (HEAD.poses(middle) @ T_IMU_CAM)[0]
    ahead = transform(T_world_cam, [0.0, 0.0, 0.6])
    R = yaw_rotation(1.1)
    return se3(R, ahead - R @ GRIPPER.poses(middle)[0, :3, 3])


def sightings(line_delay_s: float = 0.0, noise_px: float = 0.0) -> Sightings:
    """The cube as the head's camera sees it: faces turned to it, whole in the picture."""
    mount = MountedCamera("head", LENS, T_IMU_CAM, line_delay_s=line_delay_s)
    rng = np.random.default_rng(0)
    stamps: list[int] = []
    seen: list[Tag] = []
    corners: list[Array] = []
    for t_ns in times(LENGTH_S, 0.05)[1:-1]:
        for tag in CUBE:
            px = np.full((4, 2), np.nan)
            late_s = np.zeros(4)
            facing = False
            for _ in range(5 if line_delay_s else 1):
                at: Stamps = t_ns + np.rint(1e9 * late_s).astype(np.int64)
                T_cam_world = inverse(HEAD.poses(at) @ T_IMU_CAM)
                T_world_imu = T_world_gripper() @ GRIPPER.poses(at)
                p_cam = transform(T_cam_world @ T_world_imu, transform(T_IMU_TCP, tag.corners_body))
                outward = np.cross(p_cam[1] - p_cam[0], p_cam[3] - p_cam[0])
                facing = bool(outward @ p_cam.mean(axis=0) > 0.3 * np.linalg.norm(outward) * p_cam[0, 2])
                px, valid = LENS.project(p_cam)
                facing &= bool(valid.all() and LENS.in_picture(px).all())
                late_s = (px[:, 1] - (LENS.height - 1) / 2) * line_delay_s
            if facing:
                stamps.append(int(t_ns) - round(1e9 * DT_S))
                seen.append(tag)
                corners.append(px + noise_px * rng.standard_normal((4, 2)))
    return Sightings(mount, DT_S, np.array(stamps), seen, np.array(corners))


def tied(seen: Sightings) -> Tied:
    return tie(chain_of(HEAD, DT_S), {"left": chain_of(GRIPPER)}, {"left": [seen]}, {"left": T_IMU_TCP})


def errors(found: Chain, t_ns: Stamps) -> Array:
    exact = T_world_gripper() @ GRIPPER.poses(t_ns)
    return se3_log(inverse(exact) @ found.states.T_world_imu)


@pytest.mark.parametrize("line_delay_s", [0.0, 3e-5], ids=["global", "rolling"])
def test_a_gripper_is_found_where_it_is(line_delay_s: float) -> None:
    seen = sightings(line_delay_s)
    assert len(seen) > 40
    found = tied(seen).chains["left"]
    off = errors(found, found.states.t_ns)
    assert np.abs(off[:, 3:]).max() < 2e-4 and np.abs(off[:, :3]).max() < 1e-3


def test_noise_of_a_tenth_of_a_pixel_costs_a_fraction_of_a_millimetre_and_is_told() -> None:
    found = tied(sightings(noise_px=0.1)).chains["left"]
    off = np.linalg.norm(errors(found, found.states.t_ns)[:, 3:], axis=1)
    sigma = np.sqrt([np.trace(found.joint.of_pose(i)[3:, 3:]) for i in range(len(found.states))])
    assert off.max() < 1.5e-3
    assert np.all(off < 4 * sigma) and sigma.max() < 3e-3


def test_where_its_own_camera_was_lost_its_tags_place_a_gripper() -> None:
    """In the middle second it is known by the IMU alone, which drifts by a centimetre and half a degree and returns."""
    whole = chain_of(GRIPPER)
    since_s = (whole.states.t_ns - START_NS) / 1e9
    lost = np.abs(since_s - 1.5) < 0.5
    drift = np.where(lost, np.sin(np.pi * (since_s - 1.0)), 0.0)[:, None] * np.r_[[0.009] * 3, [0.006] * 3]
    axes = np.einsum("ia,jb,ab->iajb", drift, drift, np.eye(6))
    T = whole.states.T_world_imu @ se3_exp(drift * [1, -1, 1, -1, 1, 1])
    cov = whole.joint.cov + axes
    chain = replace(
        whole,
        states=replace(whole.states, T_world_imu=T),
        joint=replace(whole.joint, cov=cov),
        tracked=np.abs(whole.t_ns - START_NS - 1.5e9) > 0.6e9,
    )
    seen = sightings()
    found = tie(chain_of(HEAD, DT_S), {"left": chain}, {"left": [seen]}, {"left": T_IMU_TCP}).chains["left"]
    looked = np.abs(found.t_ns[:, None] - seen.camera_t_ns).min(axis=1) < 0.1e9
    assert (looked & ~chain.tracked).sum() > 5 and found.tracked[looked].all()
    off = errors(found, found.states.t_ns)
    told = np.sqrt([np.trace(found.joint.of_pose(i)[3:, 3:]) for i in range(len(found.states))])
    near = np.abs(found.states.t_ns[:, None] - seen.camera_t_ns).min(axis=1) < 0.06e9
    assert (near & lost).sum() > 2
    miss = np.linalg.norm(off[:, 3:], axis=1)
    assert miss[near].max() < 4e-3 and np.all(miss[near] < 3 * told[near]), "a centimetre before"
    unfelt = np.abs(chain.imu.t_ns - START_NS - 1.5e9) < 0.3e9
    deaf = ImuSamples(*(getattr(chain.imu, name)[~unfelt] for name in ("t_ns", "gyro_imu", "accel_imu")))
    unheard = replace(chain, imu=deaf)
    held = tie(chain_of(HEAD, DT_S), {"left": unheard}, {"left": [seen]}, {"left": T_IMU_TCP}).chains["left"]
    assert not held.tracked[np.abs(held.t_ns - START_NS - 1.5e9) < 0.28e9].any(), "nothing carries it between tags"
    far = replace(chain, tracked=np.abs(chain.t_ns - START_NS) < 0.3e9)
    kept = tie(chain_of(HEAD, DT_S), {"left": far}, {"left": [seen]}, {"left": T_IMU_TCP}).chains.get("left")
    assert kept is None or not kept.tracked[kept.t_ns > START_NS + 1.6e9].any(), "by the IMU alone for too long"


def test_sightings_that_contradict_each_other_tie_nothing() -> None:
    seen = sightings()
    rng = np.random.default_rng(1)
    wild = replace(seen, corners_px=seen.corners_px + rng.uniform(-60, 60, (len(seen), 1, 2)))
    outcome = tied(wild)
    assert outcome.unseen == {"left": len(seen)} and set(outcome.chains) == {"head"}


def test_a_second_camera_that_sees_rubbish_does_not_cost_the_tie() -> None:
    seen = sightings()
    rng = np.random.default_rng(1)
    some = slice(None, None, 3)
    off_px = rng.uniform(60, 90, (len(seen), 1, 2))
    wild = replace(
        seen,
        camera_t_ns=seen.camera_t_ns[some],
        tags=seen.tags[some],
        corners_px=(seen.corners_px + off_px)[some],
    )
    outcome = tie(chain_of(HEAD, DT_S), {"left": chain_of(GRIPPER)}, {"left": [seen, wild]}, {"left": T_IMU_TCP})
    off = errors(outcome.chains["left"], outcome.chains["left"].states.t_ns)
    assert np.abs(off[:, 3:]).max() < 2e-4


def test_without_sightings_nothing_is_tied() -> None:
    nothing = replace(sightings(), camera_t_ns=np.empty(0, np.int64), tags=(), corners_px=np.empty((0, 4, 2)))
    assert tied(nothing).unseen == {"left": 0}


def carried_by_tags(imu: ImuSamples, line_delay_s: float = 0.0) -> Chain | None:
    pictures = times(LENGTH_S, 0.05)
    return carried(chain_of(HEAD, DT_S), [sightings(line_delay_s)], imu, Device(IDEAL), T_IMU_TCP, pictures, 0.0)


@pytest.mark.parametrize("line_delay_s", [0.0, 3e-5], ids=["global", "rolling"])
def test_tags_alone_place_a_gripper_to_a_millimetre(line_delay_s: float) -> None:
    found = carried_by_tags(GRIPPER.imu(LENGTH_S), line_delay_s)
    assert found is not None and found.tracked.mean() > 0.7
    off = errors(found, found.states.t_ns)
    assert np.abs(off[:, 3:]).max() < 1e-3 and np.abs(off[:, :3]).max() < 5e-3


def test_a_gyroscope_that_turns_the_wrong_way_is_not_believed() -> None:
    true = GRIPPER.imu(LENGTH_S)
    assert carried_by_tags(ImuSamples(true.t_ns, -true.gyro_imu, true.accel_imu)) is None


def test_where_the_motion_sensor_was_silent_tags_alone_are_not_enough() -> None:
    whole = GRIPPER.imu(LENGTH_S)
    since_s = (whole.t_ns - START_NS) / 1e9
    heard = (since_s < 1.0) | (since_s > 2.0)
    found = carried_by_tags(ImuSamples(whole.t_ns[heard], whole.gyro_imu[heard], whole.accel_imu[heard]))
    assert found is not None
    since_s = (found.t_ns - START_NS) / 1e9
    assert not found.tracked[(since_s > 1.0) & (since_s < 2.0)].any() and found.tracked[since_s < 0.9].mean() > 0.9
