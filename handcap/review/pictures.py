"""The camera's pictures in a replay, compressed as they were recorded, with what the reconstruction left over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from handcap.geometry import Array
from handcap.review.colours import traffic
from handcap.review.material import Material
from handcap.session import Packet
from handcap.types import Stamps

_BATCH_BYTES = 2_000_000
_MEDIA = {"jpeg": "image/jpeg", "png": "image/png"}
RESIDUAL_ZOOM = 20.0  # arrows are this much longer than the error: half a pixel becomes visible
_RESIDUAL_RED_PX = 2.0


def log_pictures(rec: Any, root: str, material: Material) -> None:
    """Every packet below `<root>/world/head/camera/lens`, undecoded, a few megabytes at a time."""
    import rerun as rr

    path = f"{root}/world/head/camera/lens/picture"
    described = False
    for batch in _batches(material):
        times = material.camera_on_timeline(np.array([p.t_ns for p in batch], np.int64))
        data = [p.data for p in batch]
        if batch[0].format == "h264":
            if not described:
                rec.log(path, rr.VideoStream(codec=rr.VideoCodec.H264), static=True)
                described = True
            columns = rr.VideoStream.columns(sample=data)
        else:
            columns = rr.EncodedImage.columns(blob=data, media_type=[_MEDIA[p.format] for p in batch])
        rec.send_columns(path, [rr.TimeColumn("take", duration=times)], columns)


def _batches(material: Material) -> Iterator[list[Packet]]:
    """Packets in runs of one format and bounded size."""
    batch: list[Packet] = []
    size = 0
    for packet in material.take.packets(material.camera):
        if batch and (size + len(packet.data) > _BATCH_BYTES or packet.format != batch[0].format):
            yield batch
            batch, size = [], 0
        batch.append(packet)
        size += len(packet.data)
    if batch:
        yield batch


def log_residuals(rec: Any, root: str, material: Material) -> None:
    """Arrows over the picture at each keyframe: where the solution puts a point against where it was seen."""
    import rerun as rr

    left = material.residuals
    if left is None:
        return
    path = f"{root}/world/head/camera/lens/residuals"
    stamps, count = np.unique(left.camera_t_ns, return_counts=True)
    if not len(stamps):
        return
    rms_px = np.linalg.norm(left.residual_px, axis=1)
    columns = rr.Arrows2D.columns(
        origins=left.pixel + 0.5,
        vectors=left.residual_px * RESIDUAL_ZOOM,
        colors=traffic(rms_px / _RESIDUAL_RED_PX),
        radii=np.full(len(left.pixel), 0.8),
    )
    times = rr.TimeColumn("take", duration=material.camera_on_timeline(stamps))
    rec.send_columns(path, [times], columns.partition(lengths=count))


def rms_by_picture(material: Material) -> tuple[Stamps, Array] | None:
    """(n,) stamps as recorded and (n,) root-mean-square residual, px."""
    left = material.residuals
    if left is None or not len(left.camera_t_ns):
        return None
    square = (left.residual_px**2).sum(axis=1)
    stamps, first, count = np.unique(left.camera_t_ns, return_index=True, return_counts=True)
    return stamps, np.sqrt(np.add.reduceat(square, first) / count)
