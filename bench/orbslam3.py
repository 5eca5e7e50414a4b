"""ORB-SLAM3, monocular-inertial, and handcap on the same folders: coverage, error, scale, tilt, time.

The peer (PyPI `pyorbslam3`) is GPL: opt-in, run by a Python of its own, never a dependency. Make that once:

    python3 -m venv out/peers/orbslam3
    out/peers/orbslam3/bin/pip install -r bench/peers/requirements.txt

and supply a vocabulary: its authors' ORBvoc.txt or, failing that, one trained by bench/peers/orb_vocabulary.py, which
is not theirs and is named as such beside the numbers. Then

    python bench/orbslam3.py --peer-python out/peers/orbslam3/bin/python --vocabulary ORBvoc.txt [RECORDING ...]

A RECORDING is an ASL folder with groundtruth_tum.txt beside mav0, or a simulated session, which is first written as one
(head alone, global shutter). By default: the real `vio/euroc_mh01_head` when the data folder is there, and 20 s of the
virtual rig.

Both are scored by one code, `handcap.reconstruct.score`, on TUM files of the IMU's poses. Coverage is the share of all
pictures, from the first on, with a metric pose in the end. ATE is the rmse after SE(3) alignment, scale not fitted; the
scale error is what a Sim(3) alignment would mend; tilt is the rms angle between true and estimated vertical. A pose is
scored where it exists, so an ATE speaks of its own coverage. ORB-SLAM3 needs some seconds of motion before it knows
scale and gravity, then places earlier pictures of the same map after the fact; they count.

Time is a whole process each, start-up included: handcap's import and reconstruction; the peer's vocabulary, tracking
and saving. ORB-SLAM3 is given the pictures at their recorded pace, so 1 s per second is its least, and CPU seconds are
given beside it (`--unpaced` does not wait, and leaves its mapping less time). On a loaded machine it falls behind that
pace, and its answer may depend on it; the load is printed. It is not deterministic in any case, hence several runs.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from peers.asl_folder import TRUTH, write_asl_folder

from handcap import session
from handcap.cameras import KannalaBrandt4
from handcap.formats.tum import read_tum, write_tum
from handcap.geometry import Array, inverse, matrix_from_quat_wxyz, se3
from handcap.reconstruct.score import score
from handcap.types import Rig, Stamps, Trajectory

OUT = Path("out/bench/orbslam3")
PEER = Path(__file__).with_name("peers") / "orbslam3_run.py"
VIRTUAL_S = 20
LEAD_NS = 10_000_000_000  # the first picture's time in the peer's files; as LEAD_S in its script
PATIENCE = 20.0  # a peer that takes longer than this many seconds per second is stopped
# Those its authors give for EuRoC, pictures at full size.
ORB = {"nFeatures": 1000, "scaleFactor": 1.2, "nLevels": 8, "iniThFAST": 20, "minThFAST": 7}
VIEWER = ("KeyFrameSize", "KeyFrameLineWidth", "GraphLineWidth", "PointSize", "CameraSize", "CameraLineWidth")


@dataclass(frozen=True, slots=True)
class Cost:
    """Of a process and its children."""

    wall_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Recording:
    """What both read.

    Attributes:
        name: for the table.
        mav0: the ASL folder's.
        truth: the head's true poses.
        stamps: (n,) of all pictures.
    """

    name: str
    mav0: Path
    truth: Trajectory
    stamps: Stamps

    @property
    def length_s(self) -> float:
        return float(self.stamps[-1] - self.stamps[0]) / 1e9


def _timed(command: Sequence[str | Path], log: Path, patience_s: float | None = None) -> tuple[str, Cost]:
    """Runs a command; what went wrong in a few words, or nothing, and what it cost."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with log.open("wb") as out:
        try:
            code = subprocess.run(
                [str(c) for c in command], stdout=out, stderr=subprocess.STDOUT, timeout=patience_s
            ).returncode
            wrong = f"exit code {code}" if code > 0 else f"killed by {signal.Signals(-code).name}" if code else ""
        except subprocess.TimeoutExpired:
            wrong = f"stopped after {patience_s:.0f} s"
        except OSError as error:
            wrong = f"cannot be started ({error.strerror})"
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    last = " ".join([line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()][-2:])
    return f"{wrong}: {last[:200] or 'nothing said'}" if wrong else "", Cost(time.perf_counter() - began, cpu_s)


def _handcap(*arguments: str | Path) -> list[str | Path]:
    return [Path(sys.executable).with_name("handcap"), *arguments]


def _recording(path: Path, work: Path) -> Recording:
    folder = path
    if (path / "session.json").exists():
        folder = work / "asl"
        if not folder.exists():
            write_asl_folder(path, folder)
    mav0 = folder / "mav0"
    rows = (mav0 / "cam0/data.csv").read_text().splitlines()
    stamps = np.array([int(row.split(",")[0]) for row in rows if row.strip() and not row.startswith("#")], np.int64)
    return Recording(path.name, mav0, read_tum(folder / TRUTH), stamps)


def run_handcap(recording: Recording, work: Path) -> tuple[str, Cost]:
    """Leaves handcap.txt in TUM format."""
    folder = work / "session"
    shutil.rmtree(folder, ignore_errors=True)
    wrong, first = _timed(_handcap("import", "euroc", recording.mav0.parent, folder), work / "import.log")
    if not wrong:
        wrong, second = _timed(_handcap("reconstruct", folder), work / "reconstruct.log")
        first = Cost(first.wall_s + second.wall_s, first.cpu_s + second.cpu_s)
    head = folder / "derived/0001/reconstruct/head.parquet"
    if (head.parent / "report.json").exists() and not head.exists():
        causes = json.loads((head.parent / "report.json").read_text())["causes"]
        wrong = f"refused: {' '.join(cause['text'] for cause in causes)}"
    if not wrong:
        write_tum(work / "handcap.txt", session.read_trajectory(head))
    return wrong, first


def peer_settings(rig: Rig, fps: float) -> str:
    """ORB-SLAM3's settings file for a rig's head."""
    (mounted,) = rig.cameras.values()
    lens, imu = mounted.camera, rig.devices[mounted.device].imu
    fisheye = isinstance(lens, KannalaBrandt4)
    names = ("k1", "k2", "k3", "k4") if fisheye else ("k1", "k2", "p1", "p2")
    values = dict(zip(("fx", "fy", "cx", "cy", *names), lens.params, strict=True))
    lines = ["%YAML:1.0", 'File.version: "1.0"', f'Camera.type: "{"KannalaBrandt8" if fisheye else "PinHole"}"']
    lines += [f"Camera1.{name}: {value:.12e}" for name, value in values.items()]
    lines += [f"Camera.width: {lens.width}", f"Camera.height: {lens.height}", f"Camera.fps: {round(fps)}"]
    lines += ["Camera.RGB: 1", "IMU.T_b_c1: !!opencv-matrix", "   rows: 4", "   cols: 4", "   dt: f"]
    lines += [f"   data: [{', '.join(f'{v:.12e}' for v in mounted.T_imu_cam.ravel().tolist())}]"]
    noise = {"NoiseGyro": imu.gyro_noise_density, "NoiseAcc": imu.accel_noise_density}
    noise |= {"GyroWalk": imu.gyro_random_walk, "AccWalk": imu.accel_random_walk, "Frequency": imu.rate_hz}
    lines += [f"IMU.{name}: {value:.12e}" for name, value in noise.items()]
    lines += [f"ORBextractor.{name}: {value}" for name, value in ORB.items()]
    # Asked for although no viewer is opened.
    lines += [f"Viewer.{name}: 1.0" for name in (*VIEWER, "ViewpointX", "ViewpointY", "ViewpointZ", "ViewpointF")]
    return "\n".join(lines) + "\n"


def _peer_poses(path: Path, recording: Recording) -> tuple[Stamps, Array]:
    """Stamps of the pictures meant, and poses (n, 4, 4), of a file that ORB-SLAM3 saved."""
    rows = np.loadtxt(path, ndmin=2)
    t_ns = np.rint(rows[:, 0]).astype(np.int64) - LEAD_NS + recording.stamps[0]
    which = np.argmin(np.abs(t_ns[:, None] - recording.stamps[None, :]), axis=1)
    quat_wxyz = np.concatenate([rows[:, 7:8], rows[:, 4:7]], axis=1)
    return recording.stamps[which], se3(matrix_from_quat_wxyz(quat_wxyz), rows[:, 1:4])


def peer_trajectory(work: Path, recording: Recording) -> Trajectory:
    """All pictures' poses in ORB-SLAM3's level world.

    It saves pictures relative to its first keyframe, which is not level, and keyframes in its world, which is. They
    are tied by the keyframes, which stand in both files.
    """
    t_ns, T_first_body = _peer_poses(work / "frames.txt", recording)
    key_ns, T_world_key = _peer_poses(work / "keyframes.txt", recording)
    _, row, key = np.intersect1d(t_ns, key_ns, return_indices=True)
    assert len(row), "no keyframe is in both files"
    T_world_first = T_world_key[key[0]] @ inverse(T_first_body[row[0]])  # any would do: they agree to the last digit
    order = np.unique(t_ns, return_index=True)[1]
    n = len(order)
    T_world_body = T_world_first @ T_first_body[order]
    return Trajectory("head", t_ns[order], t_ns[order], T_world_body, np.full((n, 6, 6), np.nan), np.ones(n, bool))


def run_peer(recording: Recording, work: Path, args: argparse.Namespace) -> tuple[str, Cost, str]:
    """Leaves peer.txt in TUM format; what went wrong, what it cost, and what else it told."""
    for name in ("frames.txt", "keyframes.txt", "status.json", "peer.txt"):
        (work / name).unlink(missing_ok=True)
    if not (work / "session/rig.json").exists():
        return "handcap could not import the folder, so there is no calibration to give", Cost(0.0, 0.0), ""
    rig = session.read_rig(work / "session/rig.json")
    settings = work / "settings.yaml"
    settings.write_text(peer_settings(rig, 1e9 / float(np.median(np.diff(recording.stamps)))))
    command = [args.peer_python, PEER, recording.mav0, args.vocabulary, settings, work]
    command += ["--unpaced"] if args.unpaced else []
    wrong, cost = _timed(command, work / "peer.log", 120 + PATIENCE * recording.length_s)
    if not (work / "status.json").exists():
        return wrong or "left no word of how it went", cost, ""
    status = json.loads((work / "status.json").read_text())
    told = (
        f"live poses {status['posed_live']}, vocabulary {status['load_s']:.1f} s, tracking {status['tracking_s']:.1f} s"
    )
    if not status["scaled"]:
        return "its IMU was never initialised, so it has no metric pose", cost, told
    told += f", scale known live after {status['scaled_after_s']:.1f} s"
    if not wrong:
        write_tum(work / "peer.txt", peer_trajectory(work, recording))
    return wrong, cost, told


def row(who: str, recording: Recording, estimate: Path, wrong: str, cost: Cost) -> str:
    """One line of the table."""
    spent = f"{cost.wall_s:6.1f} s {cost.wall_s / recording.length_s:5.2f} s/s {cost.cpu_s:6.1f} CPU s"
    if wrong:
        return f"{who:14s}   0.0 % {spent}   {wrong}"
    posed = read_tum(estimate)
    scored = score(recording.truth, posed)
    return (
        f"{who:14s} {100 * len(posed) / len(recording.stamps):5.1f} % {spent}   ATE {1e3 * scored.ate_m.rmse:7.2f} mm, "
        f"scale error {100 * (1 / scored.scale - 1):+6.2f} %, tilt {np.rad2deg(scored.tilt_rad):6.3f}°"
    )


def absent(args: argparse.Namespace) -> str:
    """Why the peer cannot be run; nothing if it can."""
    if args.vocabulary is None:
        return "no vocabulary was supplied (--vocabulary)"
    if not args.vocabulary.is_file():
        return f"there is no vocabulary {args.vocabulary}"
    if args.peer_python is None:
        return "no Python of its own was given (--peer-python)"
    return ""


def defaults() -> list[Path]:
    """The real recording, when there, and a take of the virtual rig, made when missing."""
    data = Path(os.environ.get("HANDCAP_DATA", Path(__file__).parents[2] / "shared" / "data"))
    real, virtual = data / "vio/euroc_mh01_head", OUT / f"virtual_{VIRTUAL_S}s"
    if not virtual.exists():
        OUT.mkdir(parents=True, exist_ok=True)
        wrong, _ = _timed(_handcap("simulate", virtual, "--seconds", str(VIRTUAL_S)), OUT / "simulate.log")
        assert not wrong, wrong
    return [*([real] if real.is_dir() else []), virtual]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", type=Path, nargs="*")
    parser.add_argument("--vocabulary", type=Path)
    parser.add_argument("--peer-python", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--unpaced", action="store_true")
    args = parser.parse_args()
    if why := absent(args):
        print(f"ORB-SLAM3 was not run: {why}.")
    else:
        with args.vocabulary.open(errors="replace") as file:
            note = " ".join(file.readline().split()[4:])
        whose = f"{note}; NOT its authors' vocabulary" if note else "as supplied"
        print(f"ORB-SLAM3 monocular-inertial, vocabulary {args.vocabulary.name}: {whose}")
    print("coverage, wall time of the process and per second of recording; ATE after SE(3) alignment, scale not fitted")
    for path in args.recordings or defaults():
        work = OUT / "work" / path.resolve().name
        work.mkdir(parents=True, exist_ok=True)
        recording = _recording(path, work)
        what = f"{recording.name}, {len(recording.stamps)} pictures, {recording.length_s:.1f} s"
        print(f"{what} (load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores)", flush=True)
        wrong, cost = run_handcap(recording, work)
        print("  " + row("handcap", recording, work / "handcap.txt", wrong, cost), flush=True)
        for k in range(0 if why else args.runs):
            wrong, cost, told = run_peer(recording, work, args)
            line = row(f"ORB-SLAM3, {k + 1}", recording, work / "peer.txt", wrong, cost)
            print(f"  {line}{told and f' ({told})'}", flush=True)


if __name__ == "__main__":
    main()
