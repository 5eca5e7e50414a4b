"""What a take's report says of the session: where its world lies in it, and what earlier takes gave."""

from __future__ import annotations

from typing import Any

from handcap.reconstruct.result import ReconstructParams
from handcap.reconstruct.rig_take import Recording, Whole
from handcap.reconstruct.session_map import placed_in_session


def in_session_report(take_id: str, recording: Recording, whole: Whole, params: ReconstructParams) -> dict[str, Any]:
    """The keys `session_map`, `session_map_note`, `session_map_left_out` and `priors` of report.json.

    None of a pass that shares nothing.
    """
    earlier = recording.earlier
    if earlier is None:
        return {}
    device, first = next(iter(whole.devices.items()))
    report: dict[str, Any] = {"session_map": None, "session_map_note": None}
    if first.room is not None and first.body in whole.bodies:
        poses = whole.bodies[first.body].poses
        report |= placed_in_session(take_id, first.room, poses, earlier.takes, params.session_map)
    clocks: dict[str, Any] = {}
    for name, result in whole.devices.items():
        camera = recording.cameras[name]
        prior = earlier.clock_prior(camera, recording.rig.cameras[camera], params.session_map)
        if prior is not None:
            clocks[camera] = {
                "take": prior.take,
                "time_offset_s": prior.dt_imu_cam_s,
                "sigma_s": prior.sigma_s,
                "sha256": prior.sha256,
                "used": result.judgement.numbers.get("clock_prior_used", False),
            }
    numbers = whole.devices[device].judgement.numbers
    room = None
    if "held_in_take" in numbers:
        room = {"take": numbers["held_in_take"], "sha256": numbers["held_in_sha256"]}
    report["session_map_left_out"] = dict(sorted(earlier.left_out.items()))
    report["priors"] = {"time_offset": clocks, "room": room}
    return report
