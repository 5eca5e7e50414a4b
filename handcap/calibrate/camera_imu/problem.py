"""What a board's corners and an inertial sensor say of a path and of how they are mounted: residuals, derivatives.

Frames: `board` is the world here, `imu` the body whose path is sought. Time is in seconds of the IMU's clock.

    gyro  = rate_imu + gyro_bias
    accel = R_board_imu^T (acceleration_board - gravity_board) + accel_bias
    pixel = lens(T_imu_cam^-1 T_board_imu^-1 scale corner_board)  at  t_cam + dt_imu_cam + late rows * line delay
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from handcap.calibrate.camera_imu.arrow import LOCAL, SIZE, Arrow, Columns, Rows
from handcap.calibrate.camera_imu.spline import ORDER, Instants, PoseSpline
from handcap.cameras import Camera
from handcap.geometry import GRAVITY_M_S2, Array, se3, skew, so3_exp

_MOST_ROWS = 20_000  # corners at once: 30 MB of derivatives
_HELD = 1e15  # one over the sigma of a line delay that is not sought
_STEP = 1e-3  # sigmas of a lens parameter, for its derivative


@dataclass(frozen=True, eq=False, slots=True)
class Inertial:
    """Samples of one device.

    Attributes:
        t_s: (n,) IMU clock.
        gyro, accel: (n, 3) rad/s, m/s².
    """

    t_s: Array
    gyro: Array
    accel: Array


@dataclass(frozen=True, eq=False, slots=True)
class Corners:
    """What one camera saw of the board.

    Attributes:
        name: of the camera.
        t_s: (n,) stamp of each corner's picture, camera clock.
        late_rows: (n,) rows between the picture's middle and the corner.
        board: (n, 3) where each lies, m.
        px: (n, 2).
        view: (n,) number of its picture.
        ids: (n,) of the corner.
        period_s: from picture to picture.
        lens: as calibrated.
        lens_spread: (8, k) how its parameters may differ: lens_spread @ z with z of unit variance.
    """

    name: str
    t_s: Array
    late_rows: Array
    board: Array
    px: Array
    view: NDArray[np.int64]
    ids: NDArray[np.int64]
    period_s: float
    lens: Camera
    lens_spread: Array


@dataclass(frozen=True, eq=False, slots=True)
class Mount:
    """What is sought of one camera.

    Attributes:
        T_imu_cam: (4, 4).
        dt_s: t_imu = t_cam + dt.
        line_delay_s: from row to row.
        lens_z: (k,) deviation of the lens in units of its spread.
    """

    T_imu_cam: Array
    dt_s: float
    line_delay_s: float
    lens_z: Array


@dataclass(frozen=True, eq=False, slots=True)
class State:
    """Everything that is estimated.

    Attributes:
        path: T_board_imu over time.
        gravity_board: (3,) m/s², points down.
        scale: true size of the board over its stated size.
        gyro_bias, accel_bias: (b, 3) at `bias_s`, straight lines between.
        bias_s: (b,) s.
        mounts: of the cameras.
    """

    path: PoseSpline
    gravity_board: Array
    scale: float
    gyro_bias: Array
    accel_bias: Array
    bias_s: Array
    mounts: tuple[Mount, ...]


@dataclass(frozen=True, slots=True)
class Sigmas:
    """Of one measurement: gyroscope rad/s, accelerometer m/s², corner px."""

    gyro: float
    accel: float
    corner: float


@dataclass(frozen=True, slots=True)
class Priors:
    """What is known beforehand; standard deviations.

    Attributes:
        gravity_m_s2: of its strength about standard gravity. Loose, as is the next: a wrong accelerometer or a wrong
            board shows in them, and a good take knows both a hundred times better.
        scale: of the board's size over the stated one.
        accel_bias_m_s2, gyro_bias_rad_s: any consumer part stays within.
        gyro_walk, accel_walk: rad/s²/√Hz, m/s³/√Hz.
    """

    gravity_m_s2: float = 0.5
    scale: float = 0.2
    gyro_bias_rad_s: float = 0.35
    accel_bias_m_s2: float = 1.5
    gyro_walk: float = 2e-5
    accel_walk: float = 5e-4


class Layout:
    """Which column each number has."""

    MOUNT = 8  # rotation and position in camera axes, offset, line delay

    def __init__(self, biases: int, lens_columns: Sequence[int]) -> None:
        self.gravity = np.arange(3)
        self.scale = 3
        self.gyro_bias = 4 + np.arange(3 * biases).reshape(-1, 3)
        self.accel_bias = 4 + 3 * biases + np.arange(3 * biases).reshape(-1, 3)
        at = 4 + 6 * biases
        self.mounts: list[Columns] = []
        self.lenses: list[Columns] = []
        for k in lens_columns:
            self.mounts.append(at + np.arange(self.MOUNT))
            self.lenses.append(at + self.MOUNT + np.arange(k))
            at += self.MOUNT + k
        self.size = at


@dataclass(frozen=True, eq=False, slots=True)
class Residuals:
    """What measurements leave, in their own units: model less measurement.

    Attributes:
        gyro, accel: (n, 3).
        corner: (n, 2) px of each camera; NaN where the lens does not reach.
    """

    gyro: Array
    accel: Array
    corner: tuple[Array, ...]


class Problem:
    """All measurements of one take.

    Attributes:
        imu, cameras: the measurements.
        sigmas, priors: how good they are, and what is known beforehand.
        free: of each camera, whether its line delay is sought; else it stays as it is.
    """

    def __init__(
        self,
        imu: Inertial,
        cameras: Sequence[Corners],
        sigmas: Sigmas,
        priors: Priors,
        free: Sequence[bool] | None = None,
    ) -> None:
        self.imu, self.cameras, self.sigmas, self.priors = imu, tuple(cameras), sigmas, priors
        self.free = tuple(free) if free is not None else (True,) * len(self.cameras)

    def layout(self, state: State) -> Layout:
        return Layout(len(state.bias_s), [camera.lens_spread.shape[1] for camera in self.cameras])

    def residuals(self, state: State) -> Residuals:
        at = state.path.at(self.imu.t_s)
        gyro, accel = self._inertial(state, at)
        return Residuals(gyro, accel, tuple(self._corner(state, k)[0] for k in range(len(self.cameras))))

    # Inertial samples

    def _bias_at(self, state: State, first: NDArray[np.int64]) -> tuple[NDArray[np.int64], Array]:
        """(n,) knot before each sample and (n,) share of the next; changes only between the path's own knots."""
        where = state.path.start_s + (first + 0.5) * state.path.step_s
        knot = np.clip(np.searchsorted(state.bias_s, where) - 1, 0, len(state.bias_s) - 2)
        return knot, (where - state.bias_s[knot]) / (state.bias_s[knot + 1] - state.bias_s[knot])

    def _inertial(self, state: State, at: Instants) -> tuple[Array, Array]:
        knot, share = self._bias_at(state, at.first)
        gyro_bias = state.gyro_bias[knot] * (1 - share[:, None]) + state.gyro_bias[knot + 1] * share[:, None]
        accel_bias = state.accel_bias[knot] * (1 - share[:, None]) + state.accel_bias[knot + 1] * share[:, None]
        force = np.einsum("nji,nj->ni", at.R, at.acceleration - state.gravity_board)
        return at.rate_body + gyro_bias - self.imu.gyro, force + accel_bias - self.imu.accel

    def gyro_rows(self, state: State, weight: Array) -> Rows:
        """Of every sample; weights (n,)."""
        at = state.path.at(self.imu.t_s, with_rates=True)
        n, layout = len(weight), self.layout(state)
        knot, by_bias = self._by_bias(state, at.first)
        local = np.zeros((n, 3, ORDER, SIZE))
        local[..., :3] = np.moveaxis(at.rate_by, 1, 2)
        columns = np.concatenate([layout.gyro_bias[knot], layout.gyro_bias[knot + 1]], axis=-1)
        residual = self._inertial(state, at)[0]
        scale = np.sqrt(weight) / self.sigmas.gyro
        rows = Rows(np.arange(n), self.imu.t_s, at.first, local.reshape(n, 3, LOCAL), columns, by_bias, residual)
        return _scaled(rows, scale)

    def accel_rows(self, state: State, weight: Array) -> Rows:
        """Of every sample; weights (n,)."""
        at = state.path.at(self.imu.t_s)
        n, layout = len(weight), self.layout(state)
        knot, by_bias = self._by_bias(state, at.first)
        R_imu_board = np.swapaxes(at.R, 1, 2)
        force = np.einsum("nij,nj->ni", R_imu_board, at.acceleration - state.gravity_board)
        local = np.empty((n, 3, ORDER, SIZE))
        local[..., :3] = np.einsum("nij,nkjl->nikl", skew(force), at.turn_by)
        local[..., 3:] = R_imu_board[:, :, None, :] * at.bend_weight[:, None, :, None]
        gravity = np.broadcast_to(layout.gravity, (n, 3))
        columns = np.concatenate([layout.accel_bias[knot], layout.accel_bias[knot + 1], gravity], axis=-1)
        beside = np.concatenate([by_bias, -R_imu_board], axis=-1)
        residual = self._inertial(state, at)[1]
        scale = np.sqrt(weight) / self.sigmas.accel
        rows = Rows(np.arange(n), self.imu.t_s, at.first, local.reshape(n, 3, LOCAL), columns, beside, residual)
        return _scaled(rows, scale)

    def _by_bias(self, state: State, first: NDArray[np.int64]) -> tuple[NDArray[np.int64], Array]:
        """(n,) knot before each sample, and (n, 3, 6) how the biases at it and at the next count."""
        knot, share = self._bias_at(state, first)
        both = np.stack([1 - share, share], axis=-1)
        return knot, np.einsum("nk,ij->nikj", both, np.eye(3)).reshape(len(first), 3, 6)

    # Corners

    def _lens(self, state: State, k: int, z: Array | None = None) -> Camera:
        camera = self.cameras[k]
        params = np.array(camera.lens.params) + camera.lens_spread @ (state.mounts[k].lens_z if z is None else z)
        return replace(camera.lens, params=tuple(float(p) for p in params))

    def _seen(self, state: State, k: int, rows: slice) -> tuple[Instants, Array, Array]:
        """The path as the corners were seen, and where they are in imu and camera axes."""
        camera, mount = self.cameras[k], state.mounts[k]
        late_s = camera.late_rows[rows] * mount.line_delay_s
        at = state.path.at(camera.t_s[rows] + mount.dt_s + late_s)
        p_imu = np.einsum("nji,nj->ni", at.R, state.scale * camera.board[rows] - at.p)
        p_cam = (p_imu - mount.T_imu_cam[:3, 3]) @ mount.T_imu_cam[:3, :3]
        return at, p_imu, p_cam

    def _corner(self, state: State, k: int, rows: slice = slice(None)) -> tuple[Array, Instants, Array, Array]:
        at, p_imu, p_cam = self._seen(state, k, rows)
        px, valid = self._lens(state, k).project(p_cam)
        return np.where(valid[:, None], px - self.cameras[k].px[rows], np.nan), at, p_imu, p_cam

    def corner_rows(self, state: State, k: int, weight: Array) -> Iterator[Rows]:
        """Of camera k, some thousand corners at a time; weights (n,)."""
        for start in range(0, len(self.cameras[k].t_s), _MOST_ROWS):
            yield self._corner_rows(state, k, weight, slice(start, start + _MOST_ROWS))

    def _corner_rows(self, state: State, k: int, weight: Array, rows: slice) -> Rows:
        camera, mount, layout = self.cameras[k], state.mounts[k], self.layout(state)
        residual, at, p_imu, p_cam = self._corner(state, k, rows)
        n, spread = len(residual), camera.lens_spread
        by_cam = self._lens(state, k).derivative(p_cam)
        by_imu = by_cam @ mount.T_imu_cam[:3, :3].T
        # T <- T Exp([theta; rho]) moves a point's coordinates in the body by p × theta - rho.
        by_turn, by_shift = by_imu @ skew(p_imu), -by_imu @ np.swapaxes(at.R, 1, 2)
        local = np.empty((n, 2, ORDER, SIZE))
        local[..., :3] = np.einsum("nij,nkjl->nikl", by_turn, at.turn_by)
        local[..., 3:] = by_shift[:, :, None, :] * at.weight[:, None, :, None]
        by_time = np.einsum("nij,nj->ni", by_turn, at.rate_body) + np.einsum("nij,nj->ni", by_shift, at.velocity)
        beside = np.empty((n, 2, Layout.MOUNT + spread.shape[1] + 1))
        beside[..., :3], beside[..., 3:6], beside[..., 6] = by_cam @ skew(p_cam), -by_cam, by_time
        beside[..., 7] = by_time * camera.late_rows[rows, None] if self.free[k] else 0.0
        for j, step in enumerate(np.eye(spread.shape[1]) * _STEP):
            up, down = (self._lens(state, k, mount.lens_z + sign * step).project(p_cam)[0] for sign in (1, -1))
            beside[..., Layout.MOUNT + j] = (up - down) / (2 * _STEP)
        beside[..., -1] = -np.einsum("nij,nj->ni", by_shift, camera.board[rows])
        columns = np.r_[layout.mounts[k], layout.lenses[k], layout.scale]
        known = np.flatnonzero(np.isfinite(residual[:, 0]))
        return _scaled(
            Rows(
                known + (rows.start or 0),
                camera.t_s[rows][known],
                at.first[known],
                local[known].reshape(-1, 2, LOCAL),
                np.broadcast_to(columns, (len(known), len(columns))),
                beside[known],
                residual[known],
            ),
            np.sqrt(weight[rows][known]) / self.sigmas.corner,
        )

    def lens_shift_px(self, state: State, k: int) -> float:
        """How far the lens of the optimum puts corners from where the calibrated one does, rms."""
        _, _, p_cam = self._seen(state, k, slice(None))
        (mine, a), (given, b) = self._lens(state, k).project(p_cam), self.cameras[k].lens.project(p_cam)
        apart = (mine - given)[a & b]
        return float(np.sqrt(np.mean(np.sum(apart**2, axis=1)))) if len(apart) else 0.0

    # What is known beforehand

    def add_priors(self, state: State, arrow: Arrow) -> None:
        layout, priors = self.layout(state), self.priors
        strength = float(np.linalg.norm(state.gravity_board))
        row = state.gravity_board[None] / strength / priors.gravity_m_s2
        arrow.add_prior(layout.gravity, row, np.array([(strength - GRAVITY_M_S2) / priors.gravity_m_s2]))
        arrow.add_prior(
            np.array([layout.scale]), np.array([[1 / priors.scale]]), np.array([(state.scale - 1) / priors.scale])
        )
        step_s = np.diff(state.bias_s)
        for columns, bias, first, walk in (
            (layout.gyro_bias, state.gyro_bias, priors.gyro_bias_rad_s, priors.gyro_walk),
            (layout.accel_bias, state.accel_bias, priors.accel_bias_m_s2, priors.accel_walk),
        ):
            arrow.add_prior(columns[0], np.eye(3) / first, bias[0] / first)
            for j, step in enumerate(step_s):
                sigma = walk * np.sqrt(step)
                rows = np.hstack([-np.eye(3), np.eye(3)]) / sigma
                arrow.add_prior(np.r_[columns[j], columns[j + 1]], rows, (bias[j + 1] - bias[j]) / sigma)
        for k, mount in enumerate(state.mounts):
            arrow.add_prior(layout.lenses[k], np.eye(len(mount.lens_z)), mount.lens_z)
            if not self.free[k]:
                arrow.add_prior(layout.mounts[k][7:], np.array([[_HELD]]), np.zeros(1))

    def moved(self, state: State, path: Array, numbers: Array) -> State:
        """The state after a step."""
        layout = self.layout(state)
        steps = path.reshape(-1, SIZE)
        mounts: list[Mount] = []
        for k, mount in enumerate(state.mounts):
            by = numbers[layout.mounts[k]]
            R, p = mount.T_imu_cam[:3, :3], mount.T_imu_cam[:3, 3]
            mounts.append(
                Mount(
                    se3(R @ so3_exp(by[:3]), p + R @ by[3:6]),
                    mount.dt_s + float(by[6]),
                    mount.line_delay_s + (float(by[7]) if self.free[k] else 0.0),
                    mount.lens_z + numbers[layout.lenses[k]],
                )
            )
        return State(
            state.path.moved(steps[:, :3], steps[:, 3:]),
            state.gravity_board + numbers[layout.gravity],
            state.scale + float(numbers[layout.scale]),
            state.gyro_bias + numbers[layout.gyro_bias],
            state.accel_bias + numbers[layout.accel_bias],
            state.bias_s,
            tuple(mounts),
        )


def _scaled(rows: Rows, scale: Array) -> Rows:
    """Rows times (n,)."""
    each = scale[:, None, None]
    return replace(rows, local=rows.local * each, beside=rows.beside * each, residual=rows.residual * scale[:, None])
