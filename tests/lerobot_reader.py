"""Run by a Python that has the real LeRobot: opens a dataset folder and prints what its class makes of it, as JSON.

    python tests/lerobot_reader.py FOLDER

Needs `lerobot`; nothing of handcap is imported.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset

try:
    import torchcodec.decoders  # noqa: F401  (needs FFmpeg's libraries on the system)

    backend = "torchcodec"
except (ImportError, OSError, RuntimeError):
    backend = "pyav"

root = Path(sys.argv[1])
whole = LeRobotDataset("handcap/session", root=root, video_backend=backend)
camera = next(iter(whole.meta.camera_keys))
items = [whole[i] for i in range(len(whole))]
shapes = {key: list(value.shape) for key, value in items[0].items() if isinstance(value, torch.Tensor)}
window = {"observation.state": [-1 / whole.fps, 0.0], "action": [k / whole.fps for k in range(4)], camera: [0.0]}
windowed = LeRobotDataset("handcap/session", root=root, delta_timestamps=window, video_backend=backend)
batch = next(iter(torch.utils.data.DataLoader(windowed, batch_size=4, shuffle=False)))
print(
    json.dumps(
        {
            "backend": backend,
            "length": len(whole),
            "fps": whole.fps,
            "episodes": whole.num_episodes,
            "robot_type": whole.meta.robot_type,
            "features": {key: list(value["shape"]) for key, value in whole.features.items()},
            "shapes": shapes,
            "timestamp": [float(item["timestamp"]) for item in items],
            "frame_index": [int(item["frame_index"]) for item in items],
            "camera_t_ns": [int(item["camera_t_ns"]) for item in items],
            "state": [item["observation.state"].tolist() for item in items],
            "brightness": [float(item[camera].mean()) for item in items],
            "task": items[0]["task"],
            "stats": {key: {name: list(v.shape) for name, v in s.items()} for key, s in whole.meta.stats.items()},
            "batch": {key: list(value.shape) for key, value in batch.items() if isinstance(value, torch.Tensor)},
        }
    )
)
