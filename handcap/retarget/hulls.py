"""Convex hulls of meshes, kept in the user's cache: to read fine meshes takes longer than a robot's whole verdict."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from handcap.errors import RetargetError
from handcap.geometry import Array
from handcap.retarget.description import Description, tree_of

_LAYOUT = 1  # of the files in the cache


def convex_shapes(model: Any, description: Description) -> Any:
    """pinocchio's shapes of a URDF, each mesh as its convex hull.

    From points on: the same shapes whether the hulls had to be made or were kept.

    Raises:
        RetargetError: a mesh has no volume.
    """
    import pinocchio as pin

    hulls = _kept(description)
    if hulls is None:
        hulls = _made(model, description)
        _keep(description, hulls)
    geometry = pin.buildGeomFromUrdfString(model, _without_meshes(description), pin.COLLISION)
    for number, points in hulls.items():
        geometry.geometryObjects[number].geometry = hull(points)
    return geometry


def hull(points: Array) -> Any:
    """coal's convex shape of points (k, 3), m."""
    import coal

    mesh = coal.BVHModelOBBRSS()
    mesh.beginModel(0, len(points))
    mesh.addVertices(points)
    mesh.endModel()
    mesh.buildConvexHull(False, "Qt")  # it answers whether the mesh was convex
    return mesh.convex


def _made(model: Any, description: Description) -> dict[int, Array]:
    """Number of a shape to the corners of its hull (k, 3); of meshes only."""
    import coal
    import pinocchio as pin

    geometry = pin.buildGeomFromUrdfString(model, description.xml, pin.COLLISION)
    out: dict[int, Array] = {}
    for number, shape in enumerate(geometry.geometryObjects):
        if isinstance(shape.geometry, coal.BVHModelBase):
            shape.geometry.buildConvexHull(False, "Qt")
            out[number] = np.array(shape.geometry.convex.points())
            if len(out[number]) < 4:
                raise RetargetError("a mesh has no volume", where=description.path, mend="repair or remove the mesh")
    return out


def _without_meshes(description: Description) -> str:
    """The same shapes in the same order, a ball in place of every mesh."""
    tree = tree_of(description.xml.encode(), description.path)
    for geometry in tree.iterfind("link/collision/geometry"):
        for mesh in geometry.findall("mesh"):
            geometry.remove(mesh)
            ET.SubElement(geometry, "sphere", radius="1")
    return ET.tostring(tree, encoding="unicode")


def _file(description: Description) -> Path:
    import platformdirs

    made_by = f"pin{version('pin')}-coal{version('coal')}"
    return platformdirs.user_cache_path("handcap") / "hulls" / f"{description.sha256}-{made_by}-{_LAYOUT}.npz"


def _kept(description: Description) -> dict[int, Array] | None:
    try:
        with _file(description).open("rb") as file, np.load(file, allow_pickle=False) as found:
            return {int(number): np.asarray(found[number], float) for number in found.files}
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):  # none, or damaged: it is made anew
        return None


def _keep(description: Description, hulls: dict[int, Array]) -> None:
    file = _file(description)
    writing = file.with_name(f".{file.name}.{os.getpid()}")
    with suppress(OSError):  # a cache that cannot be written is only slow
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with writing.open("wb") as out:
                np.savez(out, **{str(number): points for number, points in hulls.items()})  # type: ignore[arg-type]
            writing.replace(file)
        finally:
            writing.unlink(missing_ok=True)
