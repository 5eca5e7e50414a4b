"""The virtual technician's daily check: still, then looks at the board, then shut jaws."""

from __future__ import annotations

import numpy as np
import pytest

from handcap import geometry
from handcap.sim import rigs, world
from handcap.sim.person import HeadParams


@pytest.mark.parametrize("name", ["gripper", "head"])
def test_a_check_lies_still_looks_at_the_board_and_shuts_the_jaws(name: str) -> None:
    rig = rigs.drawn(name, 0)
    end_s = 11.95  # of ten seconds of pictures, the first at second 1
    played = world.build("bench", rig, rigs.parse(name), "check", HeadParams(), end_s, seed=3)
    (camera,) = rig.cameras
    device = rig.cameras[camera].device
    at_rest = played.motion[device].pose(np.linspace(0.5, 3.0, 50))
    assert np.ptp(at_rest[:, :3, 3], axis=0).max() < 1e-6
    looking_s = np.linspace(5.5, 7.9, 25)
    T_cam_room = geometry.inverse(played.T_room_cam(camera)(looking_s))
    board = next(board for board in played.room.boards if board.name == "charuco")
    corners = geometry.transform(board.T_room_board, board.target.corners_target)
    px, seen = rig.cameras[camera].camera.project(geometry.transform(T_cam_room[:, None], corners))
    inside = seen & rig.cameras[camera].camera.in_picture(px)
    assert inside.any(axis=1).mean() > 0.9
    turned = geometry.so3_log(geometry.inverse(T_cam_room[0])[:3, :3] @ T_cam_room[:, :3, :3])
    assert np.ptp(turned, axis=0).min() > 0.1
    if name == "gripper":
        shut = played.opening_m["right"].at(np.linspace(10.0, 10.9, 10))
        assert np.abs(shut).max() < 1e-4
        assert any(event.kind == "shut" for event in played.events)
