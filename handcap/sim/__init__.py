"""The virtual rig: rooms, people and sensors, with exact truth. Truth for testing, not photoreal training data."""

from handcap.sim.simulation import SimulationParams, simulate

__all__ = ["SimulationParams", "simulate"]
