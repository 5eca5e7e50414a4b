"""Arms and bases against their floors.

    python -m bench.retarget_arms [tasks] [speed] [reach] [rooms]

tasks: ten virtual tasks on seven robots. speed: poses per second of whole trajectories against a plain loop over
poses, pinocchio's damped least squares, each in a process of its own on the same poses. reach: whether a pose counts
as reachable, against sixty random beginnings for each. rooms: two rooms and the way between them. Rates are per second
of one core's time, so that a busy machine does not change them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from handcap import geometry
from handcap.geometry import Array
from handcap.retarget.branches import begin, few, spread
from handcap.retarget.follow import Follower, rates
from handcap.retarget.model import build
from handcap.retarget.placement import place, seen_from
from handcap.retarget.robot import read_robot
from handcap.retarget.solve import RetargetParams, Solution, solve
from handcap.retarget.targets import Targets, targets
from handcap.sim import rigs, world
from handcap.sim.person import HeadParams
from handcap.types import Side, Trajectory

ROBOTS = ("panda", "ur5e", "ur10", "kinova", "so101", "g1", "iiwa14")
SCENES = ("kitchen", "nursery", "shop_shelf", "corridor", "kitchen")
SIGMA_M, SIGMA_RAD, RATE_HZ = 0.00025, 0.0005, 30.0  # as reconstructed virtual rigs have them
LENGTH_S = 12.0


def task(scene: str, seed: int, sides: Sequence[Side], length_s: float = LENGTH_S) -> Targets:
    """A virtual tidying, with the noise that its covariance says."""
    rig = rigs.drawn("full", seed, 0.0)
    played = world.build(scene, rig, rigs.parse("full"), "tidy", HeadParams(), length_s + 1.0, seed)
    t_s = np.arange(0.5, length_s, 1 / RATE_HZ)
    rng = np.random.default_rng(seed)
    head = _trajectory("head", t_s, played.motion["head"].pose(t_s), None)
    tools = {side: _trajectory(f"{side}_tcp", t_s, played.tools[side](t_s), rng) for side in sides}
    return targets(tools, head)


def _trajectory(body: str, t_s: Array, T: Array, rng: np.random.Generator | None) -> Trajectory:
    n = len(t_s)
    sigma = np.repeat([SIGMA_RAD, SIGMA_M], 3)
    if rng is not None:
        T = T @ geometry.se3_exp(rng.normal(size=(n, 6)) * sigma)
    t_ns = np.round(t_s * 1e9).astype(np.int64)
    return Trajectory(body, t_ns, t_ns, T, np.tile(np.diag(sigma**2), (n, 1, 1)), np.ones(n, bool))


def judged(solution: Solution) -> dict[str, float]:
    """What the floors are about."""
    body, q = solution.body, solution.motion.q
    good = solution.reached
    position = solution.motion.position_error_m[good]
    rotation = solution.motion.rotation_error_rad[good]
    row_good = np.all(good, axis=1)
    near = solution.motion.near
    hits = 0 if near is None else int(np.sum(row_good[near.row] & (near.distance_m < 0)))
    speed, _ = rates(q, solution.t_robot_s)
    return {
        "reached": float(good.mean()),
        "mm": float(1e3 * np.median(position)) if len(position) else float("nan"),
        "deg": float(np.rad2deg(np.median(rotation))) if len(rotation) else float("nan"),
        "outside": int(np.sum((q < body.lower - 1e-9) | (q > body.upper + 1e-9))),
        "hits": hits,
        "speed": float((np.abs(speed) / body.velocity).max()),
        "time": float(solution.t_robot_s[-1] / solution.targets.t_s[-1]),
    }


def tasks() -> None:
    worst = {"mm": 0.0, "deg": 0.0, "outside": 0.0, "hits": 0.0, "speed": 0.0}
    print("task                robot     reached   off mm   off °  limits  hits  speed  time ×  s")
    for k in range(10):
        scene = SCENES[k % len(SCENES)]
        sides: tuple[Side, ...] = (("right",), ("left",))[k % 2]
        wanted = task(scene, 3000 + k, sides)
        for name in ROBOTS:
            robot = read_robot(name)
            start = time.process_time()
            head = wanted.T_world_head
            assert head is not None
            floor = float(np.median(head[:, 2, 3])) - 1.55
            height = (
                None
                if robot.base.height_m is None
                else (floor + robot.base.height_m[0], floor + robot.base.height_m[1])
            )
            solution = solve(robot, wanted, (), height)
            took = time.process_time() - start
            n = judged(solution)
            print(
                f"{scene:<12} {k} {sides[0]:<6}{name:<10}{100 * n['reached']:6.1f} %  {n['mm']:7.4f} {n['deg']:7.4f}"
                f"  {n['outside']:5.0f} {n['hits']:5.0f}  {n['speed']:5.2f}  {n['time']:5.2f}  {took:5.1f}",
                flush=True,
            )
            for key in worst:
                if np.isfinite(n[key]):
                    worst[key] = max(worst[key], n[key])
    print(
        f"worst: {worst['mm']:.3f} mm (limit 1), {worst['deg']:.3f}° (limit 0.5), {worst['outside']:.0f} outside "
        f"limits, {worst['hits']:.0f} self-collisions where reached, {worst['speed']:.2f} of the velocity limit"
    )


def _stood() -> tuple[Follower, Follower, Targets]:
    """A Panda in its place before a task of a minute, with collisions and without."""
    wanted = task("kitchen", 3001, ("right",), 60.0)
    with_hits = Follower(build(read_robot("panda"), ("right",)))
    found = place(with_hits, wanted)
    assert found is not None
    return with_hits, Follower(with_hits.body, collide=False), seen_from(wanted, found.T_world_base)


def _ours(collide: bool) -> dict[str, float]:
    with_hits, without, wanted = _stood()
    follower = with_hits if collide else without
    start = time.process_time()
    rows = few(wanted)
    coarse = begin(follower, wanted.rows(rows))
    motion = follower.follow(wanted, follower.nudged(wanted, spread(coarse.q, wanted.t_s[rows], wanted.t_s)))
    took = time.process_time() - start
    return _rated(follower, wanted, motion.q, took, motion.position_error_m)


def _peer() -> dict[str, float]:
    """Pose after pose from where the last one ended: damped least squares to 0.1 mm and 0.1 mrad, cut to limits."""
    import pinocchio as pin

    follower, _, wanted = _stood()
    body, tool = follower.body, follower.body.tools[0]
    goal = wanted.goals[tool.side]
    model, data = body.model, body.model.createData()
    frame = model.addFrame(pin.Frame("tcp", tool.joint, 0, pin.SE3(tool.T_joint_tcp), pin.FrameType.OP_FRAME))
    data = model.createData()
    goals = [pin.SE3(T) for T in goal.T_world_tcp]
    q = body.home.copy()
    out = np.empty((len(goals), body.dof))
    eye = 1e-6 * np.eye(6)
    start = time.process_time()
    for row, M in enumerate(goals):
        for _ in range(200 if row == 0 else 30):
            pin.computeJointJacobians(model, data, q)
            pin.updateFramePlacement(model, data, frame)
            error = pin.log6(data.oMf[frame].actInv(M)).vector
            if np.abs(error).max() < 1e-4:
                break
            J = pin.getFrameJacobian(model, data, frame, pin.LOCAL)
            q = np.clip(q + J.T @ np.linalg.solve(J @ J.T + eye, error), body.lower, body.upper)
        out[row] = q
    took = time.process_time() - start
    posed = follower.kinematics.poses(out)
    T, _ = follower.kinematics.frame(posed, tool.joint, tool.T_joint_tcp)
    off = np.linalg.norm(T[:, :3, 3] - goal.T_world_tcp[:, :3, 3], axis=1)
    return _rated(follower, wanted, out, took, off)


def _rated(follower: Follower, wanted: Targets, q: Array, took: float, off: Array) -> dict[str, float]:
    body = follower.body
    speed, acceleration = rates(q, wanted.t_s)
    return {
        "rate": len(q) / took,
        "mm": float(1e3 * np.median(off)),
        "speed": float((np.abs(speed) / body.velocity).max()),
        "acceleration": float((np.abs(acceleration) / body.acceleration).max()),
    }


def speed() -> None:
    told: dict[str, Any] = {}
    for name in ("ours", "hits", "peer"):
        run = subprocess.run([sys.executable, "-m", "bench.retarget_arms", f"--{name}"], capture_output=True, text=True)
        if run.returncode:
            raise SystemExit(run.stderr)
        told[name] = json.loads(run.stdout.splitlines()[-1])
    words = {"ours": "whole trajectory", "hits": "with collisions", "peer": "pinocchio, pose by pose"}
    for name, n in told.items():
        print(
            f"{words[name]:<26}{n['rate']:8.0f} poses/s   off {n['mm']:.4f} mm   {n['speed']:.2f} of the velocity "
            f"limit, {n['acceleration']:.2f} of the acceleration limit"
        )
    print(f"floors: 5000 and 1000; against the peer {told['ours']['rate'] / told['peer']['rate']:.2f} ×")


def reach(count: int = 250, beginnings: int = 60) -> None:
    """Poses about the robot, half of them from its own postures turned and shifted a little, half from anywhere."""
    from handcap.retarget.branches import BranchParams, _Chase
    from handcap.retarget.solve import judge

    params = RetargetParams()
    total = agreed = 0
    for name in ("panda", "ur5e", "iiwa14"):
        follower = Follower(build(read_robot(name), ("right",)), collide=False)
        body, tool = follower.body, follower.body.tools[0]
        rng = np.random.default_rng(7)
        low, high = np.maximum(body.lower, body.home - np.pi), np.minimum(body.upper, body.home + np.pi)
        T, _ = follower.kinematics.frame(
            follower.kinematics.poses(rng.uniform(low, high, (count, body.dof))), tool.joint, tool.T_joint_tcp
        )
        T = T @ geometry.se3_exp(rng.normal(size=(count, 6)) * np.repeat([0.3, 0.1], 3))
        same = yes = 0
        for k in range(count):
            one = targets({"right": _trajectory("right_tcp", np.zeros(1), T[k : k + 1], None)})
            mine = begin(follower, one, BranchParams())
            mine = follower.follow(one, mine.q)
            ours = bool(judge(follower, one, mine, one.t_s, {}, params).reached[0, 0])
            chase = _Chase(follower, one, tool)
            brute = False
            for _ in range(beginnings):
                q, _ = chase.solve(0, rng.uniform(low, high), 60)
                found, _ = follower.kinematics.frame(follower.kinematics.poses(q[None]), tool.joint, tool.T_joint_tcp)
                off_m = np.linalg.norm(found[0, :3, 3] - T[k, :3, 3])
                off_rad = np.linalg.norm(geometry.so3_log(T[k, :3, :3].T @ found[0, :3, :3]))
                if off_m < params.reached_m + SIGMA_M and off_rad < params.reached_rad + SIGMA_RAD:
                    brute = True
                    break
            same, yes = same + (ours == brute), yes + brute
        print(f"{name:<8} {count} poses, {yes} within reach; agree on {100 * same / count:.1f} %", flush=True)
        total, agreed = total + count, agreed + same
    print(f"all: {100 * agreed / total:.2f} % (floor 99)")


def two_rooms(seed: int = 3100) -> Targets:
    """Work in one room, four and a half metres and a turn to another, work there."""
    first, second = (task(scene, seed + k, ("left", "right"), 10.0) for k, scene in enumerate(("kitchen", "nursery")))
    walk_s = 9.0
    n = int(walk_s * RATE_HZ)
    T_there = geometry.se3(geometry.so3_exp([0.0, 0.0, 1.2]), [4.0, 2.0, 0.0])
    share = np.linspace(0, 1, n + 2)[1:-1]
    share = share**2 * (3 - 2 * share)
    out: dict[str, Trajectory] = {}
    for body in ("head", "left", "right"):
        a, b = (t.T_world_head if body == "head" else t.goals[body].T_world_tcp for t in (first, second))
        assert a is not None and b is not None
        heads = [t.T_world_head for t in (first, second)]
        assert heads[0] is not None and heads[1] is not None
        # Both rooms on one level, the second head where the walk ends.
        level = heads[0][-1, 2, 3] - heads[1][0, 2, 3]
        T_b = geometry.se3(np.eye(3), [*(-heads[1][0, :2, 3]), level])
        b = T_there @ T_b @ b
        start, end = a[-1], b[0]
        # On the way hands keep their place before the body, and all goes along.
        turn = geometry.so3_log(start[:3, :3].T @ end[:3, :3])
        between = geometry.se3(
            start[:3, :3] @ geometry.so3_exp(share[:, None] * turn),
            start[:3, 3] + share[:, None] * (end[:3, 3] - start[:3, 3]),
        )
        T = np.concatenate([a, between, b])
        t_s = np.arange(len(T)) / RATE_HZ
        out[body] = _trajectory(body, t_s, T, None)
    return targets({"left": out["left"], "right": out["right"]}, out["head"])


def rooms() -> None:
    wanted = two_rooms()
    head = wanted.T_world_head
    assert head is not None
    floor = float(np.median(head[:, 2, 3])) - 1.55
    for name in ("g1", "panda_duo_mobile"):
        robot = read_robot(name)
        assert robot.base.height_m is not None
        start = time.process_time()
        height = (floor + robot.base.height_m[0], floor + robot.base.height_m[1])
        solution = solve(robot, wanted, (), height)
        n = judged(solution)
        base = solution.motion.q[:, solution.body.base]
        step_s = np.diff(solution.t_robot_s)[:, None]
        fastest = np.abs(np.diff(base, axis=0) / step_s).max(axis=0) / solution.body.velocity[solution.body.base]
        way = float(np.linalg.norm(np.diff(base[:, :2], axis=0), axis=1).sum())
        clear = solution.reached[~solution.crowded]
        print(
            f"{name:<18} reached {100 * n['reached']:.1f} % (floor 95; {100 * clear.mean():.1f} % where hands are "
            f"apart), way {way:.1f} m, base speed {fastest.max():.2f} of its limit, time × {n['time']:.2f}, "
            f"{n['mm']:.3f} mm, {time.process_time() - start:.0f} s"
        )


if __name__ == "__main__":
    wanted_parts = sys.argv[1:] or ["tasks", "speed", "reach", "rooms"]
    for part in wanted_parts:
        if part.startswith("--"):
            told = {"--ours": lambda: _ours(False), "--hits": lambda: _ours(True), "--peer": _peer}[part]()
            print(json.dumps(told))
        else:
            {"tasks": tasks, "speed": speed, "reach": reach, "rooms": rooms}[part]()
