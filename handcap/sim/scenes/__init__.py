"""The rooms there are: every module of this package with a `furnish` is one, under the module's name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pkgutil import iter_modules

from handcap.sim.scene import Room, SceneBuilder

Furnish = Callable[[SceneBuilder], Room]

SCENES: Mapping[str, Furnish] = {
    name: module.furnish
    for name in sorted(found.name for found in iter_modules(__path__))
    if hasattr(module := import_module(f"{__name__}.{name}"), "furnish")
}
