"""How a camera that looks at a board turned, against its gyroscope: mount and clock."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handcap.calibrate.verify.board import SeenBoard
from handcap.clock import nanoseconds, seconds
from handcap.geometry import Array, so3_exp, so3_log
from handcap.measure.gyro import GyroRotation
from handcap.types import ImuSamples, MountedCamera

_STEP = 1e-4  # of differences: s, rad/s


@dataclass(frozen=True, slots=True)
class TurningParams:
    """How turns are compared."""

    window_s: float = 0.5  # within which the gyroscope drifts by less than a picture errs
    fewest: int = 10  # pictures
    bias_rad_s: float = 3e-4  # by which the gyroscope's bias may have changed since it lay still
    robust: float = 3.0
    repeats: float = 1.7  # sigmas are so much larger than if every picture erred by itself
    least_rad: float = 1e-4  # what a picture's attitude is off by at best
    rounds: int = 5
    margin_s: float = 0.3  # of the gyroscope, before the first picture and after the last


@dataclass(frozen=True, eq=False, slots=True)
class Turning:
    """What has to change for camera and gyroscope to agree.

    Attributes:
        mount_rad: (3,) T_true = T_told Exp(mount): camera axes.
        late_s: to be added to dt_imu_cam_s.
        cov: (4, 4) of both.
        rms: what remains, in sigmas.
        turned_rad: (3,) by how much the camera turned about its axes: standard deviation of its attitude.
        used: (v,) which of the pictures count.
        gain: (4, n, 3) how mount and clock change when the attitude in each of these is another: camera axes, rad.
    """

    mount_rad: Array
    late_s: float
    cov: Array
    rms: float
    turned_rad: Array
    used: NDArray[np.bool_]
    gain: Array

    def moved_by(self, before: SeenBoard, after: SeenBoard) -> Array:
        """(4,) how mount and clock change when the same pictures say other attitudes."""
        R = np.swapaxes(before.T_board_cam[self.used, :3, :3], 1, 2) @ after.T_board_cam[self.used, :3, :3]
        return np.einsum("xni,ni->x", self.gain, so3_log(R))


def compare_turning(
    seen: SeenBoard,
    imu: ImuSamples,
    mount: MountedCamera,
    gyro_bias: Array,
    gyro_noise_density: float,
    params: TurningParams | None = None,
) -> Turning | None:
    """Fit mount and clock to turns; None where the camera was seen too briefly to turn.

    Args:
        seen: camera before a board.
        imu: of the device that carries it.
        mount: as told.
        gyro_bias: (3,) rad/s.
        gyro_noise_density: rad/s/√Hz: the gyroscope's heading walks away by it.
    """
    params = params or TurningParams()
    row_ns = nanoseconds((seen.row_px - (mount.camera.height - 1) / 2) * mount.line_delay_s)
    t_ns = seen.t_ns + nanoseconds(mount.dt_imu_cam_s) + row_ns
    inside = (t_ns > imu.t_ns[0]) & (t_ns < imu.t_ns[-1])
    t_ns, R_board_cam = t_ns[inside], seen.T_board_cam[inside, :3, :3]
    if len(t_ns) < params.fewest:
        return None
    window = np.unique((t_ns - t_ns[0]) // int(nanoseconds(params.window_s)), return_inverse=True)[1]
    margin_ns = int(nanoseconds(params.margin_s))
    imu = imu.between(int(t_ns[0]) - margin_ns, int(t_ns[-1]) + margin_ns)
    least = params.least_rad**2 * np.eye(3)
    root = np.linalg.cholesky(np.linalg.inv(seen.attitude_cov[inside] + least))
    whiten = np.asarray(np.swapaxes(root, 1, 2), float)
    R_imu_cam = mount.T_imu_cam[:3, :3]
    return _solved(inside, t_ns, R_board_cam, whiten, window, imu, R_imu_cam, gyro_bias, gyro_noise_density, params)


def _solved(
    used: NDArray[np.bool_],
    t_ns: NDArray[np.int64],
    R_board_cam: Array,
    whiten: Array,
    window: NDArray[np.int64],
    imu: ImuSamples,
    R_imu_cam: Array,
    gyro_bias: Array,
    gyro_noise_density: float,
    params: TurningParams,
) -> Turning:
    n, windows = len(t_ns), int(window.max()) + 1
    mount, late_s, bias = np.zeros(3), 0.0, gyro_bias.copy()
    x_prior = np.concatenate([np.zeros(4), np.full(3, 1 / params.bias_rad_s), np.zeros(3 * windows)])
    first = np.array([int(np.argmax(window == k)) for k in range(windows)])
    R_mount = R_imu_cam
    R_start_imu = GyroRotation(imu, bias).at(t_ns).as_matrix()
    R_board_start = R_board_cam[first] @ np.swapaxes(R_start_imu[first] @ R_mount, 1, 2)
    # From one window to the next the gyroscope's heading walks.
    links = np.zeros((windows - 1, 3, 7 + 3 * windows))
    for k in range(windows - 1):
        links[k, :, 7 + 3 * k : 10 + 3 * k], links[k, :, 10 + 3 * k : 13 + 3 * k] = -np.eye(3), np.eye(3)
    walk_rad = gyro_noise_density * np.sqrt(seconds(np.diff(t_ns[first])))
    links = (links / walk_rad[:, None, None]).reshape(-1, links.shape[2])
    noise, cov, rms = 3.0, np.eye(7 + 3 * windows), np.nan
    by_bias, gain = np.zeros((n, 3, 3)), np.zeros((4, n, 3))
    for round_ in range(params.rounds):
        R_mount = R_imu_cam @ so3_exp(mount)
        gyro = GyroRotation(imu, bias)
        R_start_imu = gyro.at(t_ns, late_s).as_matrix()

        R_cam_start = np.swapaxes(R_board_cam, 1, 2) @ R_board_start[window]
        here = so3_log(R_cam_start @ R_start_imu @ R_mount)
        J = np.zeros((n, 3, 7 + 3 * windows))
        J[:, :, :3] = np.eye(3)
        J[:, :, 3] = (so3_log(R_cam_start @ gyro.at(t_ns, late_s + _STEP).as_matrix() @ R_mount) - here) / _STEP
        for axis in range(3 if round_ == 0 else 0):  # integrating is slow, and the bias hardly bends anything
            other = GyroRotation(imu, bias + _STEP * np.eye(3)[axis])
            by_bias[:, :, axis] = (so3_log(R_cam_start @ other.at(t_ns, late_s).as_matrix() @ R_mount) - here) / _STEP
        J[:, :, 4:7] = by_bias
        by_start = np.swapaxes(R_start_imu @ R_mount, 1, 2)
        for k in range(windows):
            J[window == k, :, 7 + 3 * k : 10 + 3 * k] = by_start[window == k]
        J, here = whiten @ J, np.einsum("nij,nj->ni", whiten, here)
        length = np.linalg.norm(here, axis=1)
        weight = np.repeat(np.minimum(1.0, params.robust * noise / np.maximum(length, 1e-12)), 3)
        A = J.reshape(-1, J.shape[2])
        prior = (noise * x_prior) ** 2
        x_now = np.concatenate([np.zeros(4), bias - gyro_bias, np.zeros(3 * windows)])
        walked = so3_log(np.swapaxes(R_board_start[:-1], 1, 2) @ R_board_start[1:]) / walk_rad[:, None]
        information = (A * weight[:, None]).T @ A + np.diag(prior) + noise**2 * links.T @ links
        slope = A.T @ (weight * here.ravel()) + prior * x_now + noise**2 * links.T @ walked.ravel()
        step = -np.linalg.solve(information, slope)
        mount, late_s, bias = so3_log(so3_exp(mount) @ so3_exp(step[:3])), late_s + float(step[3]), bias + step[4:7]
        R_board_start = R_board_start @ so3_exp(step[7:].reshape(windows, 3))
        rms = float(np.sqrt(np.sum(weight * here.ravel() ** 2) / max(weight.sum() - 7, 1.0)))
        noise = max(rms, 1.0)
        inverse = np.linalg.inv(information)
        cov = (params.repeats * noise) ** 2 * inverse
        # An attitude turned by a little takes that little off its residual.
        gain = np.einsum("xni,nij->xnj", (inverse[:4] @ A.T * weight).reshape(4, n, 3), whiten)
        if np.abs(step[:3]).max() < 1e-6 and abs(step[3]) < 1e-7:
            break
    attitude = so3_log(np.swapaxes(R_board_cam[:1], 1, 2) @ R_board_cam)
    return Turning(mount, late_s, np.asarray(cov[:4, :4], float), rms, attitude.std(axis=0), used, gain)
