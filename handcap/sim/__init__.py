"""The virtual rig: rooms, people and sensors, with exact truth. Truth for testing, not photoreal training data."""

from handcap.sim.simulation import SimulationParams, simulate
from handcap.sim.streams import of_take, paced

__all__ = ["SimulationParams", "of_take", "paced", "simulate"]
