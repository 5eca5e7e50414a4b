"""The rooms there are, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from handcap.sim import kitchen
from handcap.sim.scene import Scene

SCENES: Mapping[str, Callable[[np.random.Generator], Scene]] = {"kitchen": kitchen.build}
