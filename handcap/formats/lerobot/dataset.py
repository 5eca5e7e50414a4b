"""Writing a LeRobotDataset v3.0, episode by episode."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcap.formats.lerobot import layout
from handcap.formats.lerobot.statistics import PictureStats, column_stats
from handcap.formats.lerobot.video import VideoWriter, even
from handcap.formats.output import write_json

_ROWS_PER_FILE = 400_000  # at some 250 bytes a row, the 100 MB that LeRobot aims at


class DatasetWriter:
    """One dataset with one camera. Pictures of an episode come first, then `end_episode` with its columns.

    Args:
        root: an empty folder.
        camera_key: feature name of the video.
        fps: frame rate.
        crf: see VideoWriter.
    """

    def __init__(self, root: Path, camera_key: str, fps: int, crf: int) -> None:
        self._root, self._key, self._fps, self._crf = root, camera_key, fps, crf
        self._file = 0
        self._video: VideoWriter | None = None
        self._video_path: Path | None = None
        self._size: tuple[int, int] | None = None
        self._pending: list[dict[str, NDArray[Any]]] = []
        self._columns: list[dict[str, NDArray[Any]]] = []
        self._episodes: list[dict[str, Any]] = []
        self._tasks: dict[str, int] = {}
        self._steps: dict[str, int] = {}
        self._seen, self._all_seen = PictureStats(), PictureStats()

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the video."""
        assert self._size is not None
        return even(self._size)

    @property
    def frames(self) -> int:
        return sum(e["length"] for e in self._episodes)

    @property
    def episodes(self) -> int:
        return len(self._episodes)

    def fits(self, image: NDArray[np.uint8]) -> bool:
        """Whether a picture has the size of those before; one dataset has one size."""
        return self._size in (None, (image.shape[1], image.shape[0]))

    def add_picture(self, image: NDArray[np.uint8], sample: bool) -> None:
        """Append (height, width, 3) RGB to the running episode; `sample` counts it in the statistics."""
        assert self.fits(image), "one dataset, one picture size"
        height, width = image.shape[:2]
        self._size = (width, height)
        if self._video is None:
            self._video_path = self._path(layout.VIDEO_PATH)
            self._video = VideoWriter(self._video_path, self._size, self._fps, self._crf)
        self._video.add(image)
        if sample:
            self._seen.add(image)

    def end_episode(self, columns: Mapping[str, NDArray[Any]], task: str, steps: Sequence[str] | None = None) -> None:
        """Close the running episode.

        Args:
            columns: feature name to (n, k), n the number of pictures added since the last episode.
            task: what the person did.
            steps: (n,) what they were doing in each row; given with every episode, or with none.
        """
        assert self._video is not None
        n = len(next(iter(columns.values())))
        in_file = sum(len(p["index"]) for p in self._pending)
        assert self._video.frames == in_file + n, "as many pictures as rows"
        first, episode = self.frames, self.episodes
        frame = np.arange(n, dtype=np.int64)[:, None]
        rows: dict[str, NDArray[Any]] = {
            **columns,
            "timestamp": (frame / self._fps).astype(np.float32),
            "frame_index": frame,
            "episode_index": np.full_like(frame, episode),
            "index": frame + first,
            "task_index": np.full_like(frame, self._tasks.setdefault(task, len(self._tasks))),
        }
        if steps is not None:
            numbers = [self._steps.setdefault(step, len(self._steps)) for step in steps]
            rows["subtask_index"] = np.array(numbers, np.int64)[:, None]
        chunk, file = layout.place(self._file)
        stats = {self._key: self._seen.stats(), **{name: column_stats(v) for name, v in rows.items()}}
        self._episodes.append(
            {
                "episode_index": episode,
                "tasks": [task],
                "length": n,
                "data/chunk_index": chunk,
                "data/file_index": file,
                "dataset_from_index": first,
                "dataset_to_index": first + n,
                f"videos/{self._key}/chunk_index": chunk,
                f"videos/{self._key}/file_index": file,
                f"videos/{self._key}/from_timestamp": in_file / self._fps,
                f"videos/{self._key}/to_timestamp": (in_file + n) / self._fps,
                **{f"stats/{name}/{stat}": v for name, s in stats.items() for stat, v in s.items()},
                "meta/episodes/chunk_index": 0,
                "meta/episodes/file_index": 0,
            }
        )
        self._all_seen.merge(self._seen)
        self._seen = PictureStats()
        self._pending.append(rows)
        assert self._video_path is not None
        full = self._video_path.stat().st_size > layout.VIDEO_FILE_MB * 1e6
        if full or in_file + n >= _ROWS_PER_FILE:
            self._end_file()

    def _path(self, pattern: str) -> Path:
        chunk, file = layout.place(self._file)
        path = self._root / pattern.format(video_key=self._key, chunk_index=chunk, file_index=file)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _end_file(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        assert self._video is not None
        self._video.close()
        self._video = None
        rows = {name: np.concatenate([p[name] for p in self._pending]) for name in self._pending[0]}
        table = pa.table({name: _column(values) for name, values in rows.items()})
        pq.write_table(table, self._path(layout.DATA_PATH), compression="snappy")
        self._columns.append(rows)
        self._pending = []
        self._file += 1

    def close(self, features: Mapping[str, Any], robot_type: str) -> None:
        """Write what is left and the metadata; `features` names and describes every column."""
        if self._pending:
            self._end_file()
        assert self._episodes, "a dataset without an episode"
        meta = self._root / "meta"
        meta.mkdir(exist_ok=True)
        numbers = {name: np.concatenate([rows[name] for rows in self._columns]) for name in self._columns[0]}
        stats = {self._key: self._all_seen.stats(), **{name: column_stats(v) for name, v in numbers.items()}}
        write_json(meta / "stats.json", stats, sort_keys=False)
        info = layout.info(features, robot_type, self._fps, self.episodes, self.frames, len(self._tasks))
        write_json(meta / "info.json", info, sort_keys=False)
        _write_texts(meta / "tasks.parquet", "task", self._tasks)
        if self._steps:
            _write_texts(meta / "subtasks.parquet", "subtask", self._steps)
        self._write_episodes(self._root / layout.EPISODES_PATH)

    def _write_episodes(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(self._episodes), path)


def _write_texts(path: Path, name: str, index: Mapping[str, int]) -> None:
    """Texts as a pandas index called `name`, which is where LeRobot looks for them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({f"{name}_index": pa.array(range(len(index)), pa.int64()), name: list(index)})
    described = [_pandas_column(f"{name}_index", "int64", "int64"), _pandas_column(name, "unicode", "object")]
    label = {"name": None, "field_name": None, "pandas_type": "unicode", "numpy_type": "object"}
    pandas = {
        "index_columns": [name],
        "column_indexes": [label | {"metadata": {"encoding": "UTF-8"}}],
        "columns": described,
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.2.0",
    }
    pq.write_table(table.replace_schema_metadata({"pandas": json.dumps(pandas)}), path)


def _pandas_column(name: str, pandas_type: str, numpy_type: str) -> dict[str, Any]:
    return {
        "name": name,
        "field_name": name,
        "pandas_type": pandas_type,
        "numpy_type": numpy_type,
        "metadata": None,
    }


def _column(values: NDArray[Any]) -> Any:
    """(n, 1) to a plain column, (n, k) to lists of fixed size."""
    import pyarrow as pa

    if values.shape[1] == 1:
        return pa.array(values[:, 0])
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).reshape(-1)), values.shape[1])
