"""The daily check on virtual rigs: does it raise an alarm where nothing is wrong, and name what is?

Checks are recorded as corners, counts and inertial samples, `handcap.sim.check_series`; `--rendered` adds whole takes
with pictures. Each spoils one parameter of the rig that is believed; the rig itself is as it was. With `--sharp` the
rig's sigmas are those of a good calibration and its numbers are off by as much; else rig.json states none.

    python bench/daily_check.py --rigs 30
    python bench/daily_check.py --rigs 0 --rendered 4
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from handcap import session, sim
from handcap.calibrate.gripper.record import EncoderHealth, JawRecord
from handcap.calibrate.verify.board import with_lens
from handcap.calibrate.verify.checks import Check, CheckRecord, check_rig, overall
from handcap.calibrate.verify.stage import read_check
from handcap.clock import to_imu_clock
from handcap.geometry import Array, se3, se3_exp
from handcap.measure.fingers import FingerSights
from handcap.sim.check_series import BOARD, CheckSeries, record_check
from handcap.types import CameraSigma, Gripper, MountedCamera, Rig, Tag

SHARP = CameraSigma(rotation_rad=5e-4, position_m=1e-3, focal=3e-4, centre_px=0.1)
SHARP_OFFSET_S = 1e-4
Spoil = Callable[[Rig, CheckRecord], tuple[Rig, CheckRecord]]


def on_camera(change: Callable[[MountedCamera], MountedCamera]) -> Spoil:
    """The last camera is told otherwise."""

    def spoil(rig: Rig, record: CheckRecord) -> tuple[Rig, CheckRecord]:
        name = list(rig.cameras)[-1]
        return replace(rig, cameras={**rig.cameras, name: change(rig.cameras[name])}), record

    return spoil


def on_gripper(change: Callable[[Gripper], Gripper]) -> Spoil:
    """Every gripper is told otherwise."""

    def spoil(rig: Rig, record: CheckRecord) -> tuple[Rig, CheckRecord]:
        return replace(rig, grippers={side: change(gripper) for side, gripper in rig.grippers.items()}), record

    return spoil


def on_imu(gyro: Callable[[Array], Array], accel: Callable[[Array], Array]) -> Spoil:
    """Every sensor reads otherwise."""

    def spoil(rig: Rig, record: CheckRecord) -> tuple[Rig, CheckRecord]:
        imu = {
            name: replace(samples, gyro_imu=gyro(samples.gyro_imu), accel_imu=accel(samples.accel_imu))
            for name, samples in record.imu.items()
        }
        return rig, replace(record, imu=imu)

    return spoil


def _turned(axis: int, degrees: float) -> Callable[[MountedCamera], MountedCamera]:
    turn = se3_exp(np.concatenate([np.deg2rad(degrees) * np.eye(3)[axis], np.zeros(3)]))
    return lambda mount: replace(mount, T_imu_cam=mount.T_imu_cam @ turn)


def _lens(focal: float = 0.0, right_px: float = 0.0) -> Callable[[MountedCamera], MountedCamera]:
    return lambda mount: replace(mount, camera=with_lens(mount.camera, np.array([focal, right_px, 0.0])))


def _encoder_zero(rad: float) -> Callable[[Gripper], Gripper]:
    def change(gripper: Gripper) -> Gripper:
        assert gripper.encoder is not None
        return replace(gripper, encoder=replace(gripper.encoder, zero_rad=gripper.encoder.zero_rad + rad))

    return change


def _tags(change: Callable[[Tag], Tag]) -> Callable[[Gripper], Gripper]:
    def moved(gripper: Gripper) -> Gripper:
        return replace(gripper, tags=tuple(tag if tag.body == "tcp" else change(tag) for tag in gripper.tags))

    return moved


def _slid(tag: Tag) -> Tag:
    """Both tags half a millimetre outwards."""
    aside = 5e-4 if tag.body == "finger_b" else -5e-4
    return replace(tag, T_body_tag=se3(np.eye(3), [aside, 0.0, 0.0]) @ tag.T_body_tag)


def _same(values: Array) -> Array:
    return values


def _noisy(values: Array) -> Array:
    return values + np.random.default_rng(0).normal(0, 2 * 2e-4 * np.sqrt(200), values.shape)


# What is spoiled, which checks may name it, and how.
SPOILS: Mapping[str, tuple[set[str], Spoil]] = {
    "mount turned by 0.5° about x": ({"mount"}, on_camera(_turned(0, 0.5))),
    "mount turned by 0.5° about y": ({"mount"}, on_camera(_turned(1, 0.5))),
    "mount turned by 0.5° about z": ({"mount"}, on_camera(_turned(2, 0.5))),
    "focal length 1 % longer": ({"focal"}, on_camera(_lens(focal=0.01))),
    "centre off by 5 px": ({"centre"}, on_camera(_lens(right_px=5.0))),
    "offset 3 ms": ({"offset"}, on_camera(lambda m: replace(m, dt_imu_cam_s=m.dt_imu_cam_s + 0.003))),
    "gyroscope off by 4°/s": ({"gyro_bias"}, on_imu(lambda g: g + np.deg2rad([4.0, 0, 0]), _same)),
    "gyroscope twice as noisy": ({"gyro_noise"}, on_imu(_noisy, _same)),
    "accelerometer 5 % too long": ({"gravity"}, on_imu(_same, lambda a: 1.05 * a)),
}
GRIPPER_SPOILS: Mapping[str, tuple[set[str], Spoil]] = {
    "encoder's zero moved by 1°": ({"jaw_encoder"}, on_gripper(_encoder_zero(np.deg2rad(1.0)))),
    "encoder's zero moved by 4°": ({"jaw_encoder"}, on_gripper(_encoder_zero(np.deg2rad(4.0)))),
    "finger tags moved by 0.5 mm": ({"jaw_tags"}, on_gripper(_tags(_slid))),
    "tags printed at 92 %": ({"tag_size"}, on_gripper(_tags(lambda tag: replace(tag, size_m=tag.size_m / 0.92)))),
}
PAIR_SPOILS: Mapping[str, tuple[set[str], Spoil]] = {
    "second camera 25 mm aside": (
        {"place"},
        on_camera(lambda m: replace(m, T_imu_cam=m.T_imu_cam @ se3(np.eye(3), [0.025, 0.0, 0.0]))),
    ),
}


def spoils_of(rig: str) -> dict[str, tuple[set[str], Spoil]]:
    """What can be spoiled of a rig."""
    more = {**(GRIPPER_SPOILS if "gripper" in rig else {}), **(PAIR_SPOILS if "stereo" in rig else {})}
    return {**SPOILS, **more}


def as_record(series: CheckSeries) -> CheckRecord:
    """A series as a take would give it."""
    jaws = {
        side: JawRecord(
            to_imu_clock(seen.camera_t_ns, series.true.cameras[side].dt_imu_cam_s),
            FingerSights(seen.picture, seen.tag, seen.px),
            seen.readings,
            EncoderHealth(sent=len(seen.readings)),
        )
        for side, seen in series.fingers.items()
    }
    return CheckRecord(series.views, series.imu, jaws)


def believed(true: Rig, seed: int, sharp: bool) -> Rig:
    """The rig as a calibration left it."""
    if not sharp:
        return true
    rng = np.random.default_rng([seed, 5])
    cameras: dict[str, MountedCamera] = {}
    for name, mount in true.cameras.items():
        scale = np.repeat([SHARP.rotation_rad, SHARP.position_m], 3)
        lens = rng.standard_normal(3) * [SHARP.focal, SHARP.centre_px, SHARP.centre_px]
        cameras[name] = replace(
            mount,
            camera=with_lens(mount.camera, lens),
            T_imu_cam=mount.T_imu_cam @ se3_exp(scale * rng.standard_normal(6)),
            dt_imu_cam_s=mount.dt_imu_cam_s + SHARP_OFFSET_S * rng.standard_normal(),
            dt_sigma_s=SHARP_OFFSET_S,
            sigma=SHARP,
        )
    return replace(true, cameras=cameras)


def named(checks: list[Check]) -> set[str]:
    return {check.kind for check in checks if check.state in ("drifting", "recalibrate")}


def judged(rig: str, cases: list[tuple[Rig, CheckRecord]]) -> None:
    """Print what a check says of rigs as they are and of each spoiled in turn."""
    states: Counter[str] = Counter()
    alarms: Counter[str] = Counter()
    count, worst = 0, 0.0
    for true, record in cases:
        checks = check_rig(true, record, BOARD)
        states[overall(checks)] += 1
        alarms.update(named(checks))
        count += len(checks)
        worst = max(worst, *(check.sigmas for check in checks if np.isfinite(check.sigmas)))
    print(f"\n{rig}: {len(cases)} virtual rigs untouched: {dict(states)}, false alarms {dict(alarms)}")
    print(f"  {count} parameters judged, the farthest off by {worst:.1f} sigma")
    print(f"  {'spoiled':32} {'named':>7} {'alone':>7}  says")
    for title, (allowed, spoil) in spoils_of(rig).items():
        found = [(kinds := check_rig(*spoil(true, record), BOARD), named(kinds)) for true, record in cases]
        hit = sum(bool(kinds & allowed) for _, kinds in found)
        alone = sum(kinds == allowed for _, kinds in found)
        said = Counter(overall(checks) for checks, _ in found)
        others = Counter(kind for _, kinds in found for kind in kinds - allowed)
        print(f"  {title:32} {hit:3}/{len(cases):<3} {alone:3}/{len(cases):<3}  {dict(said)} {dict(others) or ''}")


def rendered(rig: str, count: int, folder: Path) -> list[tuple[Rig, CheckRecord]]:
    cases: list[tuple[Rig, CheckRecord]] = []
    for seed in range(count):
        params = sim.SimulationParams(task="check")
        path = sim.simulate(
            folder / f"{rig}-{seed}", scene="bench", rig=rig, seconds=10.0, seed=seed, dt_imu_cam_s=0.004, params=params
        )
        true = session.read_rig(path / "truth/rig.json")
        cases.append((true, read_check(session.read(path).take("0001"), true, BOARD)))
    return cases


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rigs", type=int, default=30, help="of each kind, at the level of corners")
    parser.add_argument("--rendered", type=int, default=0, help="of each kind, with pictures")
    parser.add_argument("--sharp", action="store_true", help="rigs whose sigmas are small and known")
    parser.add_argument("--kinds", default="gripper,head,head-stereo", help="of rigs")
    wanted = parser.parse_args()
    for rig in wanted.kinds.split(","):
        if wanted.rigs:
            series = [record_check(rig, seed, dt_imu_cam_s=0.004) for seed in range(wanted.rigs)]
            judged(rig, [(believed(s.true, k, wanted.sharp), as_record(s)) for k, s in enumerate(series)])
        if wanted.rendered:
            with tempfile.TemporaryDirectory() as folder:
                judged(f"{rig}, rendered", rendered(rig, wanted.rendered, Path(folder)))


if __name__ == "__main__":
    main()
