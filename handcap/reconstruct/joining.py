"""Stretches of a long take, each solved in a world of its own, in the world of the first.

Where one ends, the next begins: the same picture has a pose in both worlds, which gives the turn about the vertical and
the shift between them, and the covariance of that pose is theirs. Its errors are shared by everything that follows.
Where that picture has no pose in one of the two, the next stretch is found in the room of those before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcap.causes import Cause, Verdict
from handcap.clock import seconds
from handcap.geometry import transform
from handcap.reconstruct.find_room import NotFound, find
from handcap.reconstruct.hands import HandJudgement, HandLimits, HandResult, judged_hand
from handcap.reconstruct.jaw import JawWidth
from handcap.reconstruct.joined_verdict import (
    added,
    drifting_causes,
    merged_causes,
    merged_numbers,
    root_mean_square,
    touching,
    without,
)
from handcap.reconstruct.pieces import Piece, Placed, by_pose
from handcap.reconstruct.result import MapPoints, Reconstruction, Residuals
from handcap.reconstruct.rig_take import BodyResult, Recording, Whole, body_of
from handcap.reconstruct.room import Room
from handcap.reconstruct.stretches import Stretch
from handcap.reconstruct.verdict import Judgement
from handcap.types import Stamps, Trajectory


def joined(
    recording: Recording,
    parts: Sequence[Whole],
    where: Sequence[Stretch],
    most_sigma_m: float = np.inf,
    least_s: float = 0.0,
    hand_limits: HandLimits | None = None,
) -> Whole:
    """The whole take from its stretches, in order; one that fits nowhere is left without poses.

    Args:
        most_sigma_m: of a position that is good enough: what no stretch says of itself may be true of all that lead
            there together.
        least_s: length of a good span that is worth keeping.
        hand_limits: of bare hands, judged anew: one that hides in one stretch may be seen in most of the take.
    """
    device = next(iter(recording.cameras))
    anchor = body_of(device)
    first_ns = int(recording.stamps(recording.cameras[device])[0])
    pieces: list[Piece] = []
    path: Trajectory | None = None  # of the anchor, as far as it is placed
    room: Room | None = None
    for whole, stretch in zip(parts, where, strict=True):
        start_s, end_s = (float(seconds(t_ns, first_ns)) for t_ns in (stretch.start_ns, stretch.end_ns))
        own, own_room = whole.bodies.get(anchor), whole.devices[device].room
        at = None if own is None else _placed(own.poses, own_room, path, room)
        pieces.append(Piece(whole, stretch, at, start_s, end_s, len(pieces) == len(parts) - 1))
        if at is not None and own is not None:
            rows = at.moved(own.poses)
            path = rows if path is None else _continued(path.where(path.camera_t_ns < stretch.start_ns), rows)
            room = _with_room(room, own_room, at)
    kept = [piece for piece in pieces if piece.at is not None]
    names = dict.fromkeys(name for piece in kept for name in piece.whole.bodies)
    bodies = {name: _body(pieces, name, recording, least_s) for name in names}
    causes = merged_causes(pieces, lambda whole: whole.causes)
    causes += [
        Cause("tracking_lost", anchor, (piece.start_s, piece.end_s), piece.end_s - piece.start_s, 0.0)
        for piece in pieces
        if piece.at is None and piece.whole.bodies
    ]
    drifting = drifting_causes(bodies[anchor].poses, first_ns, most_sigma_m) if bodies else []
    causes += drifting
    spans_ok_s = touching([span for piece in kept for span in piece.shifted(piece.whole.spans_ok_s)], least_s)
    for cause in drifting:
        spans_ok_s = without(spans_ok_s, cause.span_s or (0.0, 0.0))
    verdict: Verdict = "partial" if spans_ok_s else "refused"
    if spans_ok_s and not causes and all(whole.verdict == "ok" for whole in parts):
        verdict = "ok"
    hands = {
        name: _hand(pieces, name, recording.stamps(recording.cameras["head"]))
        for name in dict.fromkeys(name for piece in kept for name in piece.whole.hands)
    }
    return Whole(
        verdict,
        tuple(causes),
        spans_ok_s,
        {
            each: _device(pieces, each, recording.stamps(camera), room if each == device else None, least_s)
            for each, camera in recording.cameras.items()
        },
        bodies if spans_ok_s else {},
        {name: merged_numbers([piece.whole.numbers.get(name, {}) for piece in kept]) for name in names},
        added([whole.seconds for whole in parts]),
        hands,
        _hands_told(parts, hands, bodies, hand_limits or HandLimits()),
    )


def _placed(own: Trajectory, room: Room | None, path: Trajectory | None, known: Room | None) -> Placed | None:
    if path is None:
        return Placed(np.eye(4), np.zeros((4, 4)), "start")
    if (at := by_pose(path, own)) is not None or room is None or known is None:
        return at
    try:
        found, _ = find(room, known, own, path)
    except NotFound:
        return None
    return Placed(found.T, found.cov, "room")


def _continued(before: Trajectory, after: Trajectory) -> Trajectory:
    columns = ("t_ns", "camera_t_ns", "T_world_body", "cov", "tracked")
    return Trajectory(after.body, *(np.concatenate([getattr(t, name) for t in (before, after)]) for name in columns))


def _with_room(known: Room | None, own: Room | None, at: Placed) -> Room | None:
    """What is known of the room, with what a stretch saw of it."""
    if own is None:
        return known
    R = at.T_world_own[:3, :3]
    own = replace(own, p_world=transform(at.T_world_own, own.p_world), cov_world=R @ own.cov_world @ R.T)
    if known is None:
        return own
    both = (known, own)
    columns = ("p_world", "cov_world", "camera_t_ns", "descriptor")
    stacked = {name: np.concatenate([getattr(room, name) for room in both]) for name in columns}
    point = np.concatenate([known.point, own.point + len(known.p_world)])
    return Room(point=point, scale_sigma=max(known.scale_sigma, own.scale_sigma), **stacked)


def _stacked(
    pieces: Sequence[Piece],
    of: Callable[[Whole, Placed], Mapping[str, NDArray[Any]] | None],
    stamps: Stamps | None = None,
    clock_ns: int = 0,
) -> dict[str, NDArray[Any]]:
    """Columns of all pieces, each cut to its own stamps.

    Args:
        of: columns, `t_ns` and `camera_t_ns` among them; None of a piece that has none.
        stamps: of all pictures, so that a piece without columns has rows too, of unknown values; None for no such rows.
        clock_ns: `camera_t_ns` less the stamps that pieces are told apart by.
    """
    found = [None if piece.at is None else of(piece.whole, piece.at) for piece in pieces]
    like = next(columns for columns in found if columns is not None)
    late_ns = int(like["t_ns"][0] - like["camera_t_ns"][0])
    out: list[dict[str, NDArray[Any]]] = []
    for piece, columns in zip(pieces, found, strict=True):
        if columns is not None:
            keep = piece.keeps(columns["camera_t_ns"] - clock_ns)
            out.append({name: values[keep] for name, values in columns.items()})
        elif stamps is not None:
            t_ns = stamps[piece.keeps(stamps)]
            nothing = {name: _unknown(values, len(t_ns)) for name, values in like.items()}
            out.append({**nothing, "t_ns": t_ns + late_ns, "camera_t_ns": t_ns})
    return {name: np.concatenate([columns[name] for columns in out]) for name in like}


def _unknown(like: NDArray[Any], count: int) -> NDArray[Any]:
    return np.full((count, *like.shape[1:]), np.nan if like.dtype.kind == "f" else 0, like.dtype)


_ROWS = ("t_ns", "camera_t_ns", "T_world_body", "cov", "tracked")


def _columns(rows: Trajectory, at: Placed) -> dict[str, NDArray[Any]]:
    moved = at.moved(rows)
    return {name: getattr(moved, name) for name in _ROWS}


def _trajectory(body: str, columns: Mapping[str, NDArray[Any]]) -> Trajectory:
    return Trajectory(body, *(columns[name] for name in _ROWS))


def _body(pieces: Sequence[Piece], name: str, recording: Recording, least_s: float) -> BodyResult:
    device = next(device for device in recording.cameras if body_of(device) == name)
    kept = [piece for piece in pieces if piece.at is not None and name in piece.whole.bodies]
    first = kept[0].whole.bodies[name]
    jaws = any(piece.whole.bodies[name].jaw is not None for piece in kept)

    def pictures(whole: Whole, at: Placed) -> dict[str, NDArray[Any]] | None:
        body = whole.bodies.get(name)
        if body is None:
            return None
        nothing = np.full(len(body.poses), np.nan)
        width_m, sigma_m = (nothing, nothing) if body.jaw is None else (body.jaw.width_m, body.jaw.sigma_m)
        return _columns(body.poses, at) | {"width_m": width_m, "sigma_m": sigma_m}

    def samples(whole: Whole, at: Placed) -> dict[str, NDArray[Any]] | None:
        return None if name not in whole.bodies else _columns(whole.bodies[name].dense, at)

    rows = _stacked(pieces, pictures, recording.stamps(recording.cameras[device]))
    jaw = JawWidth(rows["width_m"], rows["sigma_m"], (), {}) if jaws else None
    clock_ns = int(first.poses.t_ns[0] - first.poses.camera_t_ns[0])
    sigmas = [piece.whole.bodies[name].rel_sigma_1s for piece in kept]
    ok = [piece.whole.bodies[name].verdict == "ok" for piece in kept]
    return BodyResult(
        "ok" if all(ok) and len(kept) == len(pieces) else "partial",
        touching([span for piece in kept for span in piece.shifted(piece.whole.bodies[name].spans_ok_s)], least_s),
        _trajectory(name, rows),
        _trajectory(first.dense.body, _stacked(pieces, samples, clock_ns=clock_ns)),
        (root_mean_square([sigma[0] for sigma in sigmas]), root_mean_square([sigma[1] for sigma in sigmas])),
        jaw,
    )


def _device(
    pieces: Sequence[Piece], device: str, camera_t_ns: Stamps, room: Room | None, least_s: float
) -> Reconstruction:
    """A device's own part in the report; of the first, what its map holds."""
    each = [piece.whole.devices[device] for piece in pieces]
    offsets = [
        (r.time_offset_s, r.time_offset_sigma_s) for r in each if r.time_offset_s is not None and r.time_offset_sigma_s
    ]
    weight = np.array([1 / sigma**2 for _, sigma in offsets])
    offset_s = float(np.array([offset for offset, _ in offsets]) @ weight / weight.sum()) if offsets else None
    ok = [r.judgement.verdict == "ok" for r in each]
    refused = [r.judgement.verdict == "refused" for r in each]
    numbers = merged_numbers([r.judgement.numbers for r in each])
    # What two stretches see at their seam counts once.
    numbers |= {"pictures": len(camera_t_ns), "length_s": float(seconds(camera_t_ns[-1:], int(camera_t_ns[0]))[0])}
    numbers["stretches"] = [
        {
            "start_s": piece.start_s,
            "end_s": piece.end_s,
            "verdict": r.judgement.verdict,
            "joined_by": None if piece.at is None else piece.at.by,
            "numbers": r.judgement.numbers,
        }
        for piece, r in zip(pieces, each, strict=True)
    ]
    judgement = Judgement(
        "ok" if all(ok) else "refused" if all(refused) else "partial",
        tuple(merged_causes(pieces, lambda whole: whole.devices[device].judgement.causes)),
        touching(
            [s for piece, r in zip(pieces, each, strict=True) for s in piece.shifted(r.judgement.spans_ok_s)], least_s
        ),
        np.concatenate([r.judgement.tracked for r in each]),
        numbers,
    )
    marks = [
        (piece, r) for piece, r in zip(pieces, each, strict=True) if piece.at is not None and r.map_points is not None
    ]
    return Reconstruction(
        each[0].body,
        judgement,
        offset_s,
        float(weight.sum() ** -0.5) if offsets else None,
        (None, None),
        map_points=_map([(piece.at, r.map_points) for piece, r in marks]),
        residuals=_residuals([(piece, r.residuals) for piece, r in marks]),
        room=room,
        seconds=added([r.seconds for r in each]),
        mounts={name: mount for r in each for name, mount in r.mounts.items()},
        unfit=tuple(dict.fromkeys(name for r in each for name in r.unfit)),
    )


_TRACKS = 10_000_000  # more than a stretch has: the same number in two stretches is not the same track


def _map(found: Sequence[tuple[Placed | None, MapPoints | None]]) -> MapPoints | None:
    parts = [(at, points) for at, points in found if at is not None and points is not None]
    if not parts:
        return None
    return MapPoints(
        np.concatenate([transform(at.T_world_own, points.p_world) for at, points in parts]),
        np.concatenate([points.views for _, points in parts]),
        np.concatenate([points.track + k * _TRACKS for k, (_, points) in enumerate(parts)]),
    )


def _residuals(found: Sequence[tuple[Piece, Residuals | None]]) -> Residuals | None:
    parts = [(left, piece.keeps(left.camera_t_ns)) for piece, left in found if left is not None]
    if not parts:
        return None
    return Residuals(
        np.concatenate([left.camera_t_ns[keep] for left, keep in parts]),
        np.concatenate([left.pixel[keep] for left, keep in parts]),
        np.concatenate([left.residual_px[keep] for left, keep in parts]),
        np.concatenate([left.track[keep] + k * _TRACKS for k, (left, keep) in enumerate(parts)]),
    )


def _hand(pieces: Sequence[Piece], name: str, stamps: Stamps) -> HandResult:
    own = ("joint_sigma_m", "confidence", "views")

    def columns(whole: Whole, at: Placed) -> dict[str, NDArray[Any]] | None:
        hand = whole.hands.get(name)
        if hand is None:
            return None
        told = {column: getattr(hand, column) for column in own}
        return _columns(hand.poses, at) | told | {"joints_world": transform(at.T_world_own, hand.joints_world)}

    rows = _stacked(pieces, columns, stamps)
    found = [piece.whole.hands[name] for piece in pieces if name in piece.whole.hands]
    numbers = [hand.numbers for hand in found]
    poses = _trajectory(found[0].poses.body, rows)
    seen = {"seen": float(poses.tracked.mean()), "two_views": float(np.mean(rows["views"] > 1))}
    return HandResult(
        poses,
        rows["joints_world"],
        rows["joint_sigma_m"],
        rows["confidence"],
        rows["views"],
        merged_numbers(numbers) | _bones(numbers) | seen,
    )


def _bones(each: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The wearer's bones, the mean of the stretches that solved them, or of all where none did."""
    solved = [numbers for numbers in each if numbers["bones_solved"] == 1.0]
    bones = {name: np.mean([n[name] for n in solved or each], axis=0).tolist() for name in ("bones_m", "bones_sigma_m")}
    return {"bones_solved": float(bool(solved)), **bones}


def _hands_told(
    parts: Sequence[Whole], hands: Mapping[str, HandResult], bodies: Mapping[str, BodyResult], limits: HandLimits
) -> dict[str, HandJudgement]:
    if "head" not in bodies:
        return {}
    head = bodies["head"].poses
    return {
        name: judged_hand(name, hands.get(name), head.camera_t_ns, head.tracked, limits)
        for name in dict.fromkeys(name for part in parts for name in part.hand_judgements)
    }
