"""README.md of a dataset: what its numbers mean and where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ACTIONS = {
    "relative": "the pose of the next frame in axes of the current one (`T_current⁻¹ T_next`); identity at the last",
    "absolute": "the pose of the next frame in the world; at the last frame its own pose",
}


def dataset_card(provenance: Mapping[str, Any], fps: int, episodes: int, frames: int) -> str:
    """Markdown with the header that dataset hubs read."""
    parameters, counts = provenance["parameters"], provenance["counts"]
    lines = [
        "---",
        "task_categories: [robotics]",
        "tags: [LeRobot, handcap]",
        "configs: [{config_name: default, data_files: data/*/*.parquet}]",
        "---",
        "",
        f"# Head camera poses of session {provenance['session']}",
        "",
    ]
    if provenance["accept"] == "all":
        lines += ["**For debugging only: exported with `--accept all`, nothing in it was checked or accepted.**", ""]
    if provenance["origin"] == "simulation":
        lines += ["**Simulated: a virtual rig in a virtual room, not the real world.**", ""]
    if provenance["consent"] == "none":
        lines += ["**No consent on record: nobody noted that the people seen in it agreed.**", ""]
    else:
        lines += [f"Consent form of the people seen in it: {provenance['consent']}.", ""]
    lines += [
        f"LeRobotDataset v3.0, {episodes} episodes, {frames} frames at {fps} frames a second, made by handcap "
        f"{provenance['made_by']['handcap']}.",
        "",
        "| column | meaning |",
        "|---|---|",
        f"| `observation.images.{parameters['camera']}` | nearest picture, H.264 |",
        "| `observation.state` | pose of the head's IMU in the world: x, y, z in metres (z up), then the first and the "
        "second column of the rotation matrix (r11, r21, r31, r12, r22, r32) |",
        f"| `action` | {_ACTIONS[parameters['action']]}; the same nine numbers |",
        "| `t_ns` | session clock, ns, at which the state holds |",
        "| `camera_t_ns` | stamp of the shown picture as its device recorded it, ns |",
        "| `state_sigma` | standard deviation: rotation about body x, y, z in rad, position along body x, y, z in m "
        "(absent when unknown) |",
        *(
            ["| `subtask_index` | row of `meta/subtasks.parquet`: the step of the work, as the collector marked it |"]
            if counts["labelled_steps"]
            else []
        ),
        "",
        f"Frames lie on an exact grid; {counts['repeated_pictures']} of them repeat a picture because the camera lost "
        f"one, {counts['pieces_too_short']} pieces were too short to be an episode.",
        "",
        "| take | verdict | pieces, s from its first picture |",
        "|---|---|---|",
    ]
    for take, entry in provenance["takes"].items():
        spans = ", ".join(f"{start:.3f}–{end:.3f}" for start, end in entry["spans_s"])
        lines.append(f"| {take} | {entry['verdict']} | {spans} |")
    lines += [f"| {take} | left out: {why} | |" for take, why in provenance["left_out"].items()]
    lines += ["", f"Rule: `--accept {provenance['accept']}`. Hashes and parameters: `handcap.json`.", ""]
    return "\n".join(lines)
