"""Where files of a LeRobotDataset v3.0 lie, and what info.json says about their columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

VERSION = "v3.0"
CHUNK_FILES = 1000  # files per chunk folder
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-000/file-000.parquet"
DATA_FILE_MB, VIDEO_FILE_MB = 100, 200
# Every dataset has these; they come last.
INDEX_FEATURES: dict[str, str] = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}


def vector(dtype: str, names: Sequence[str]) -> dict[str, Any]:
    """A feature with one named number per entry."""
    return {"dtype": dtype, "shape": [len(names)], "names": list(names)}


def video(size: tuple[int, int], fps: int) -> dict[str, Any]:
    """A camera's feature; size is (width, height)."""
    return {
        "dtype": "video",
        "shape": [size[1], size[0], 3],
        "names": ["height", "width", "channels"],
        "info": {
            "video.height": size[1],
            "video.width": size[0],
            "video.codec": "h264",
            "video.pix_fmt": "yuv420p",
            "video.is_depth_map": False,
            "video.fps": fps,
            "video.channels": 3,
            "has_audio": False,
        },
    }


def info(
    features: Mapping[str, Any], robot_type: str, fps: int, episodes: int, frames: int, tasks: int
) -> dict[str, Any]:
    """meta/info.json."""
    index = {name: {"dtype": dtype, "shape": [1], "names": None} for name, dtype in INDEX_FEATURES.items()}
    return {
        "codebase_version": VERSION,
        "robot_type": robot_type,
        "total_episodes": episodes,
        "total_frames": frames,
        "total_tasks": tasks,
        "chunks_size": CHUNK_FILES,
        "data_files_size_in_mb": DATA_FILE_MB,
        "video_files_size_in_mb": VIDEO_FILE_MB,
        "fps": fps,
        "splits": {"train": f"0:{episodes}"},
        "data_path": DATA_PATH,
        "video_path": VIDEO_PATH,
        "features": {**features, **index},
    }


def place(file: int) -> tuple[int, int]:
    """(chunk index, file index) of the n-th file."""
    return divmod(file, CHUNK_FILES)
