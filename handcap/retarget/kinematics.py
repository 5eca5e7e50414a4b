"""Where tools are and how joints move them, for every row of a motion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcap.geometry import Array
from handcap.retarget.model import Body


@dataclass(frozen=True, eq=False, slots=True)
class Posed:
    """A body in n postures.

    Attributes:
        T_world_joint: (n, joints, 4, 4) of the universe, then of every joint that carries a tool or a shape; else zero.
        J_world: (n, 6, d) of the velocity of the point at the world's origin, linear first, then angular, as
            pinocchio's `computeJointJacobians` gives it, before it is known whom a joint carries.
    """

    T_world_joint: Array
    J_world: Array


class Kinematics:
    """Forward kinematics of a body; pinocchio does the work, one posture at a time."""

    def __init__(self, body: Body) -> None:
        shaped = {pair for p in body.geometry.collisionPairs for pair in (p.first, p.second)}
        joints = {body.geometry.geometryObjects[k].parentJoint for k in shaped}
        joints |= {tool.joint for tool in body.tools} | ({body.head[0]} if body.head else set())
        self._needed = sorted(joints - {0})
        self._model: Any = body.model
        self._data: Any = body.model.createData()
        self.carried = supports(body)

    def poses(self, q: Array) -> Posed:
        """Of postures (n, d)."""
        import pinocchio as pin

        model, data, compute = self._model, self._data, pin.computeJointJacobians
        n = len(q)
        T = np.zeros((n, model.njoints, 4, 4))
        T[:, 0] = np.eye(4)
        J = np.empty((n, 6, model.nv))
        joints = [(j, data.oMi[j]) for j in self._needed]
        for row in range(n):
            compute(model, data, q[row])
            J[row] = data.J
            here = T[row]
            for j, M in joints:
                here[j] = M.homogeneous
        return Posed(T, J)

    def frame(self, posed: Posed, joint: int, T_joint_frame: Array) -> tuple[Array, Array]:
        """Pose (n, 4, 4) of a frame on a joint, and the Jacobian (n, 6, d) of its body twist [rotation; position]."""
        T = posed.T_world_joint[:, joint] @ T_joint_frame
        J = posed.J_world * self.carried[joint]
        R_frame_world = np.swapaxes(T[:, :3, :3], 1, 2)
        turn = J[:, 3:]
        shift = J[:, :3] + _cross_columns(turn, T[:, :3, 3])
        return T, np.concatenate([R_frame_world @ turn, R_frame_world @ shift], axis=1)


def point_jacobian(J_world: Array, p_world: Array) -> Array:
    """Jacobians (n, 3, d) of points (n, 3) that are carried by all joints."""
    return J_world[:, :3] + _cross_columns(J_world[:, 3:], p_world)


def _cross_columns(turn: Array, p: Array) -> Array:
    """turn × p of the columns of (n, 3, d) with (n, 3)."""
    x, y, z = p[:, 0, None], p[:, 1, None], p[:, 2, None]
    a, b, c = turn[:, 0], turn[:, 1], turn[:, 2]
    return np.stack([b * z - c * y, c * x - a * z, a * y - b * x], axis=1)


def supports(body: Body) -> NDArray[np.float64]:
    """(joints, d): 1 where a joint of the vector carries a joint of the model, else 0."""
    model = body.model
    out = np.zeros((model.njoints, model.nv))
    for joint in range(1, model.njoints):
        out[joint] = out[model.parents[joint]]
        out[joint, model.joints[joint].idx_v] = 1.0
    return out
