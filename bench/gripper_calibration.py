"""How good calibrated jaws are: virtual rigs against their truth.

Most rigs are recorded as corners and counts alone, `handcap.sim.gauge_series`; `--rendered` adds whole takes with
pictures. A row per instrument: largest error of the opening over the range, and how often the 95 % interval of each
parameter holds the truth. Nothing here says how real hardware behaves; the aim is 0.15 mm over the range, and
92 to 98 % pooled.

    python bench/gripper_calibration.py --rigs 200
    python bench/gripper_calibration.py --rigs 0 --rendered 3
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np

from handcap import geometry, session, sim
from handcap.calibrate.gripper.measurement import By, GaugedJaws, measure_jaws
from handcap.calibrate.gripper.model import mean_opening_m
from handcap.calibrate.gripper.record import EncoderHealth, JawRecord, read_jaws
from handcap.calibrate.gripper.solve import sigma_of, tcp_covariance, width_by_encoder_m, width_by_tags_m
from handcap.calibrate.gripper.stage import drawn_of, encoder_numbers
from handcap.causes import Cause
from handcap.encoder import COUNTS_PER_TURN
from handcap.geometry import Array
from handcap.measure.fingers import SHARE, FingerSights, finger_tags
from handcap.sim.gauge_series import GaugeSeries, SeriesParams, record_series
from handcap.sim.rigs import PRINTED
from handcap.types import Rig, Side

GAUGES_M = np.arange(0.01, 0.071, 0.01)
RANGE_M = np.arange(0.01, 0.0701, 0.005)
INSTRUMENTS: tuple[By, ...] = ("both", "tags", "encoder")
SIDES: tuple[Side, Side] = ("left", "right")


def as_record(series: GaugeSeries) -> JawRecord:
    """A series as a take would give it."""
    sights = FingerSights(series.picture, series.tag, series.px)
    return JawRecord(series.camera_t_ns, sights, series.readings, EncoderHealth(sent=len(series.readings)))


def truly_read_rad(true: Rig, side: Side, opening_m: Array) -> Array:
    encoder = true.grippers[side].encoder
    assert encoder is not None
    angle = encoder.zero_rad + opening_m / encoder.metres_per_rad
    return angle + encoder.eccentricity_rad * np.sin(angle - encoder.eccentricity_phase_rad)


def truly_seen_px(true: Rig, side: Side, opening_m: Array) -> Array:
    """(n, t, 4, 2) without noise."""
    gripper = true.grippers[side]
    assert gripper.T_cam_tcp is not None
    tags = finger_tags(gripper.tags)
    shift = np.zeros((len(opening_m), len(tags), 1, 3))
    shift[:, :, 0, 0] = opening_m[:, None] * np.array([SHARE[tag.body] for tag in tags])
    corners = np.array([tag.corners_body for tag in tags])
    return true.cameras[side].camera.project(geometry.transform(gripper.T_cam_tcp, corners + shift))[0]


def scores(jaws: GaugedJaws, true: Rig, side: Side, beside_px: Array | None = None) -> dict[str, tuple[Array, Array]]:
    """Errors and sigmas by parameter; corners that are always seen beside their place are so in use, too."""
    out: dict[str, tuple[Array, Array]] = {}
    fit, model = jaws.fit, jaws.model
    gripper = true.grippers[side]
    if fit.encoder is not None and gripper.encoder is not None:
        counts = truly_read_rad(true, side, RANGE_M) * COUNTS_PER_TURN / (2 * np.pi) - 0.5
        width = fit.encoder.opening_m(counts) - RANGE_M
        out["opening by encoder"] = width, sigma_of(fit, lambda at: width_by_encoder_m(model, fit, at, RANGE_M))
        sigma = sigma_of(fit, lambda at: encoder_numbers(jaws, at))
        found, truth = fit.encoder, gripper.encoder
        turned = (found.zero_rad - truth.zero_rad + np.pi) % (2 * np.pi) - np.pi
        waves = [e.eccentricity_rad * np.exp(1j * e.eccentricity_phase_rad) for e in (found, truth)]
        along = (waves[0] - waves[1]) * np.exp(-1j * found.eccentricity_phase_rad)
        out["metres_per_rad"] = np.array([found.metres_per_rad - truth.metres_per_rad]), sigma[:1]
        out["zero_rad"] = np.array([turned]), sigma[1:2]
        out["wave along"] = np.array([along.real]), sigma[2:3]
        out["wave across"] = np.array([along.imag]), sigma[3:4] * found.eccentricity_rad
        out["noise_rad"] = np.array([jaws.noise_rad - truth.noise_rad]), np.array([jaws.noise_sigma_rad])
    if fit.T_cam_tcp is not None and gripper.T_cam_tcp is not None and model.drawn.camera is not None:
        px = truly_seen_px(true, side, RANGE_M) + (0.0 if beside_px is None else beside_px)
        width = mean_opening_m(px, model.drawn.camera, fit.T_cam_tcp, fit.tags) - RANGE_M
        out["opening by tags"] = width, sigma_of(fit, lambda at: width_by_tags_m(model, fit, at, RANGE_M))
        off = geometry.se3_log(geometry.inverse(fit.T_cam_tcp) @ gripper.T_cam_tcp)
        sd = np.sqrt(np.diag(tcp_covariance(model, fit)[0]))
        out["T_cam_tcp turn"], out["T_cam_tcp place"] = (off[:3], sd[:3]), (off[3:], sd[3:])
    return out


def printed(title: str, by_rig: list[dict[str, tuple[Array, Array]]], refused: list[str]) -> None:
    print(f"\n{title}: {len(by_rig)} virtual rigs calibrated, {len(refused)} refused {sorted(set(refused))}")
    errors: dict[str, list[Array]] = defaultdict(list)
    ratios: dict[str, list[Array]] = defaultdict(list)
    for rig in by_rig:
        for name, (error, sigma) in rig.items():
            errors[name].append(error)
            ratios[name].append(error / sigma)
    print(f"  {'parameter':20} {'rms':>10} {'worst':>10} {'95 % interval holds':>20}")
    pooled: list[Array] = []
    for name in errors:
        error, ratio = np.concatenate(errors[name]), np.concatenate(ratios[name])
        pooled.append(np.concatenate([each[:: max(len(each) // 3, 1)] for each in ratios[name]]))
        scale = 1e3 if "opening" in name or "place" in name else 1.0
        unit = "mm" if scale > 1 else ""
        held = 100 * np.mean(np.abs(ratio) <= 1.96)
        print(
            f"  {name:20} {scale * np.sqrt(np.mean(error**2)):10.4g} {scale * np.abs(error).max():10.4g} {unit:2} "
            f"{held:14.1f} %"
        )
    if pooled:
        print(f"  pooled: {100 * np.mean(np.abs(np.concatenate(pooled)) <= 1.96):.1f} %")


def cheap(count: int, by: By, params: SeriesParams) -> None:
    found: list[dict[str, tuple[Array, Array]]] = []
    refused: list[str] = []
    for seed in range(count):
        side = SIDES[seed % 2]
        series = record_series(GAUGES_M, seed, side, replace(params, backwards=seed % 3 == 0))
        drawn, sign_known = drawn_of(series.known, side)
        jaws = measure_jaws(as_record(series), drawn, GAUGES_M, by, sign_known=sign_known)
        if isinstance(jaws, Cause):
            refused.append(jaws.code)
        else:
            found.append(scores(jaws, series.true, side, series.beside_px))
    printed(f"corners and counts, by {by}", found, refused)


def rendered(count: int, seconds: float) -> None:
    found: list[dict[str, tuple[Array, Array]]] = []
    refused: list[str] = []
    used_mm: list[float] = []
    for seed in range(count):
        with tempfile.TemporaryDirectory() as folder:
            params = sim.SimulationParams(task="jaws", scatter=PRINTED)
            path = sim.simulate(
                Path(folder) / "s", scene="bench", rig="gripper", seconds=seconds, seed=seed, params=params
            )
            opened = session.read(path)
            true = session.read_rig(path / "truth/rig.json")
            known = replace(opened.rig, cameras=true.cameras)  # the lens was calibrated before
            record = read_jaws(opened.take("0001"), known, "right")
            drawn, sign_known = drawn_of(known, "right")
            jaws = measure_jaws(record, drawn, GAUGES_M, sign_known=sign_known)
            if isinstance(jaws, Cause):
                refused.append(jaws.code)
                continue
            found.append(scores(jaws, true, "right"))
            used_mm.append(1e3 * float(np.nanmax(np.abs(jaws.by_tags_m - jaws.held.gauge_m))))
    printed("rendered takes", found, refused)
    if used_mm:
        print(f"  worst tag opening of a hold: {max(used_mm):.3f} mm")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rigs", type=int, default=200, help="rigs at the level of corners and counts")
    parser.add_argument("--by", choices=INSTRUMENTS, help="one way of calibrating instead of all three")
    parser.add_argument("--rendered", type=int, default=0, help="rigs with pictures")
    parser.add_argument("--seconds", type=float, default=58.0, help="of a rendered take; 58 is there and back")
    wanted = parser.parse_args()
    if wanted.rigs:
        for by in INSTRUMENTS if wanted.by is None else [wanted.by]:
            cheap(wanted.rigs, by, SeriesParams())
    if wanted.rendered:
        rendered(wanted.rendered, wanted.seconds)


if __name__ == "__main__":
    main()
