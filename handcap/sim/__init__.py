"""The virtual rig: rooms, people and sensors, with exact truth. Truth for testing, not photoreal training data."""

from handcap.sim.simulation import DRAWING_SD, SimulationParams, simulate

__all__ = ["DRAWING_SD", "SimulationParams", "simulate"]
