"""map.ply and planes.ply: what any viewer of point clouds and meshes opens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from handcap.errors import ReconstructionError
from handcap.geometry import Array
from handcap.reconstruct.planes import Plane

_GREY = (0.6, 0.6, 0.6)  # no colour is known of a point
_COLOURS = {"floor": (0.45, 0.40, 0.35), "surface": (0.30, 0.55, 0.85), "overhead": (0.55, 0.55, 0.60)}


def write_map_ply(path: Path, p_world: Array) -> None:
    """(m, 3) points, m, z up. Raises ReconstructionError."""
    import open3d as o3d

    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(p_world))
    cloud.paint_uniform_color(_GREY)
    _check(o3d.io.write_point_cloud(path, cloud), path)


def write_planes_ply(path: Path, planes: Sequence[Plane]) -> None:
    """Polygons as triangles, coloured by kind. Raises ReconstructionError."""
    import open3d as o3d

    sizes = [len(plane.polygon) for plane in planes]
    first = np.cumsum([0, *sizes])
    fans = [
        start + np.c_[np.zeros(n - 2), np.arange(1, n - 1), np.arange(2, n)]
        for start, n in zip(first, sizes, strict=False)
    ]
    mesh = o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(np.concatenate([plane.polygon for plane in planes])),
        o3d.utility.Vector3iVector(np.concatenate(fans).astype(np.int32)),
    )
    colours = np.repeat([_COLOURS[plane.kind] for plane in planes], sizes, axis=0)
    mesh.vertex_colors = o3d.utility.Vector3dVector(colours)
    _check(o3d.io.write_triangle_mesh(path, mesh), path)


def _check(written: bool, path: Path) -> None:
    if not written:
        raise ReconstructionError("cannot be written", where=path, mend="free some disk space and run it again")
