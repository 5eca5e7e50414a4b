"""A person's hand onto a robot's: fingers, pinches, jaws."""

from handcap.retarget.hands.files import write_hands
from handcap.retarget.hands.follow import FollowParams, HandMotion, follow, postures
from handcap.retarget.hands.grippers import HandAsGripper, PinchGrasp, T_world_base, gripper_from_hand, pinch_grasp
from handcap.retarget.hands.live import LiveHand, LiveParams
from handcap.retarget.hands.person import Person, person
from handcap.retarget.hands.robot_hand import RobotHand, hand_sides, make_hand
from handcap.retarget.hands.take import HandSolution, solve_take
from handcap.retarget.hands.verdict import hand_report, judge

__all__ = [
    "FollowParams",
    "HandAsGripper",
    "HandMotion",
    "HandSolution",
    "LiveHand",
    "LiveParams",
    "Person",
    "PinchGrasp",
    "RobotHand",
    "T_world_base",
    "follow",
    "gripper_from_hand",
    "hand_report",
    "hand_sides",
    "judge",
    "make_hand",
    "person",
    "pinch_grasp",
    "postures",
    "solve_take",
    "write_hands",
]
