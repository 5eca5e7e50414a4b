"""Structure from motion over a stretch of keyframes: poses up to scale, from pycolmap's incremental mapper."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcap.cameras import Camera, KannalaBrandt4
from handcap.geometry import Array
from handcap.reconstruct.frontend import Tracks


@dataclass(frozen=True, slots=True)
class SfmParams:
    pair_span: int = 12  # keyframes; farther pairs share few tracks
    min_shared: int = 20
    seed: int = 0
    start_deg: float = 16.0  # between the first two pictures, COLMAP's own; it tries ever less if it has to
    start_tracks: int = 100
    most_tracks: int | None = None  # of one picture, the longest; None for all
    enough: float = 0.5  # of the pictures; a first pair from which fewer follow was a bad one
    # A head that hardly moves aside gives COLMAP's first pair of pictures (16°, which it relaxes to 4°)
    # too little; what comes of less is checked against the IMU afterwards.
    weak_start_deg: float = 4.0
    weak_start_tracks: int = 50
    weak_point_deg: float = 0.5  # between the rays to a point that is kept; COLMAP's own 1.5 leaves it too few


@dataclass(frozen=True, eq=False, slots=True)
class SfmPoses:
    """Camera poses in a frame of unknown origin, rotation and scale.

    Attributes:
        keyframe: (n,) indices into the tracks' pictures, ascending.
        R_anchor_cam: (n, 3, 3).
        p_anchor: (n, 3) projection centres, unknown unit.
    """

    keyframe: NDArray[np.int64]
    R_anchor_cam: Array
    p_anchor: Array


def solve(
    tracks: Tracks, camera: Camera, params: SfmParams | None = None, on_image: Callable[[], None] = lambda: None
) -> SfmPoses:
    """Reconstruct the pictures of `tracks` (keyframes only); the largest model wins, possibly empty."""
    import pycolmap

    params = params or SfmParams()
    if params.most_tracks is not None:
        tracks = _longest(tracks, params.most_tracks)
    pycolmap.logging.minloglevel = pycolmap.logging.FATAL.value
    with tempfile.TemporaryDirectory(prefix="handcap-sfm-") as folder:
        database = Path(folder) / "tracks.db"
        _write_database(pycolmap, database, tracks, camera, params)
        options = pycolmap.IncrementalPipelineOptions()
        options.multiple_models = False
        options.num_threads = options.mapper.num_threads = 1  # with more, sums depend on who finishes first
        options.random_seed = params.seed
        options.ba_global_max_refinements, options.ba_global_max_num_iterations = 2, 20  # refined by GTSAM afterwards
        options.ba_refine_focal_length = options.ba_refine_principal_point = options.ba_refine_extra_params = False
        options.ba_global_frames_ratio = options.ba_global_points_ratio = 1.4  # fewer full solves: same result here
        (Path(folder) / "images").mkdir()
        best: Any = None
        starts = ((params.start_deg, params.start_tracks), (params.weak_start_deg, params.weak_start_tracks))
        for weak, start in enumerate(starts):
            options.mapper.init_min_tri_angle, options.mapper.init_min_num_inliers = start
            if weak:
                options.mapper.filter_min_tri_angle = params.weak_point_deg
            out = Path(folder) / f"model-{weak}"
            found = pycolmap.incremental_mapping(
                database, Path(folder) / "images", out, options, next_image_callback=on_image
            )
            models = [model for model in (best, *found.values()) if model is not None]
            best = max(models, key=lambda model: model.num_reg_images(), default=None)
            if best is not None and best.num_reg_images() >= params.enough * len(tracks.camera_t_ns):
                break
    return _poses(best)


def _longest(tracks: Tracks, most: int) -> Tracks:
    """Of the tracks only those that are among the `most` longest of any picture."""
    _, which, lengths = np.unique(tracks.track, return_inverse=True, return_counts=True)
    order = np.lexsort((tracks.track, -lengths[which], tracks.frame))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order)) - np.searchsorted(tracks.frame, tracks.frame)
    kept = np.zeros(len(lengths), bool)
    kept[which[rank < most]] = True
    some = kept[which]
    return replace(tracks, frame=tracks.frame[some], track=tracks.track[some], pixel=tracks.pixel[some])


def _write_database(pycolmap: Any, path: Path, tracks: Tracks, camera: Camera, params: SfmParams) -> None:
    fisheye = isinstance(camera, KannalaBrandt4)
    fx, fy, cx, cy, *lens = camera.params
    colmap_camera = pycolmap.Camera(
        model="OPENCV_FISHEYE" if fisheye else "OPENCV",
        width=camera.width,
        height=camera.height,
        params=[fx, fy, cx + 0.5, cy + 0.5, *lens],  # COLMAP: pixel (0, 0) is a corner
    )
    colmap_camera.has_prior_focal_length = True
    edges = np.searchsorted(tracks.frame, np.arange(len(tracks.camera_t_ns) + 1))
    ids = [tracks.track[a:b] for a, b in zip(edges[:-1], edges[1:], strict=True)]
    pixels = [tracks.pixel[a:b] + 0.5 for a, b in zip(edges[:-1], edges[1:], strict=True)]
    with pycolmap.Database.open(path) as database:
        colmap_camera.camera_id = database.write_camera(colmap_camera)
        rig = pycolmap.Rig()
        rig.add_ref_sensor(colmap_camera.sensor_id)
        rig_id = database.write_rig(rig)
        image_ids = []
        for i, points in enumerate(pixels):
            image = pycolmap.Image(name=f"{i:06d}", camera_id=colmap_camera.camera_id)
            image.image_id = database.write_image(image)
            frame = pycolmap.Frame()
            frame.rig_id = rig_id
            frame.add_data_id(image.data_id)
            database.write_frame(frame)
            database.write_keypoints(image.image_id, points.astype(np.float32))
            image_ids.append(image.image_id)
        for i in range(len(ids)):
            for j in range(i + 1, min(len(ids), i + 1 + params.pair_span)):
                _, in_i, in_j = np.intersect1d(ids[i], ids[j], assume_unique=True, return_indices=True)
                if len(in_i) < params.min_shared:
                    break
                matches = np.stack([in_i, in_j], axis=1).astype(np.uint32)
                database.write_matches(image_ids[i], image_ids[j], matches)
                # The front end has checked these matches against the gyroscope's epipolar planes already.
                geometry = pycolmap.TwoViewGeometry()
                geometry.config = pycolmap.TwoViewGeometryConfiguration.CALIBRATED
                geometry.inlier_matches = matches
                database.write_two_view_geometry(image_ids[i], image_ids[j], geometry)


def _poses(model: Any) -> SfmPoses:
    if model is None:
        return SfmPoses(np.zeros(0, np.int64), np.zeros((0, 3, 3)), np.zeros((0, 3)))
    found = {}
    for image in model.images.values():
        if image.has_pose:
            cam_from_world = image.cam_from_world()
            R_cam_anchor = cam_from_world.rotation.matrix()
            found[int(image.name)] = (R_cam_anchor.T, -R_cam_anchor.T @ cam_from_world.translation)
    order = sorted(found)
    return SfmPoses(
        np.array(order, np.int64),
        np.array([found[i][0] for i in order]).reshape(-1, 3, 3),
        np.array([found[i][1] for i in order]).reshape(-1, 3),
    )
