"""Jaws against gauge blocks: their opening in true millimetres, and where the fingertips are."""

from handcap.calibrate.gripper.measurement import By, GaugedJaws, GripperParams, measure_jaws
from handcap.calibrate.gripper.stage import GripperResult, StageParams, calibrate_gripper

__all__ = ["By", "GaugedJaws", "GripperParams", "GripperResult", "StageParams", "calibrate_gripper", "measure_jaws"]
