"""Trajectories in, joint motion of robots out, with a verdict on whether a robot can do it."""

from handcap.retarget.actions import ActionParams
from handcap.retarget.robot import Robot, arms, read_robot, robot_names
from handcap.retarget.stage import TakeOnRobot, run_session

__all__ = ["ActionParams", "Robot", "TakeOnRobot", "arms", "read_robot", "robot_names", "run_session"]
