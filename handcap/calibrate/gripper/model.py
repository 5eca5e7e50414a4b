"""What a gripper's camera and encoder would see of jaws on gauge blocks, and the rig for which that is what they saw.

One least-squares problem: where the tool frame and the finger tags are, starting from the drawing and held to it as far
as printed parts are true to drawings; the encoder; the lens, as far as it is calibrated. What gauges tell moves away
from the drawing; what they cannot tell (where between the tags and the tip the parts differ) stays with it, and says so
in its sigma. The lens is another step's result and stays as it is; what it may be off goes into the covariance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from handcap import geometry
from handcap.cameras import Camera
from handcap.encoder import COUNTS_PER_TURN, JawEncoder
from handcap.geometry import Array
from handcap.measure.fingers import SHARE, FingerSights, openings_m
from handcap.types import CameraSigma, Tag

LSB_RAD = 2 * np.pi / COUNTS_PER_TURN
_X = np.array([1.0, 0.0, 0.0])


@dataclass(frozen=True, slots=True)
class ModelParams:
    """How far things are from what is known of them beforehand; standard deviations per axis."""

    mount_rad: float = 0.0175  # a printed camera mount: a degree
    mount_m: float = 1e-3
    tag_rad: float = 0.01  # a tag glued into a printed frame
    tag_m: float = 3e-4
    tag_size: float = 0.03  # of a print, as a share: "fit to page" shrinks it by so much
    widening_px: float = 0.15  # a camera's tone curve moves the edges of dark squares, all alike
    focal: float = 2e-3  # of the lens, as a share, and its centre, where rig.json does not say
    centre_px: float = 1.0
    uneven: float = 0.01  # of the opening, by which one finger goes farther than the other: backlash of a rack
    seat_m: float = 1e-5  # a steel block between pads: grade 1 is good to 1 µm, the pads give a little
    beside_px: float = 0.15  # by which a corner is seen beside its place wherever it is: glue, smear of what is around
    corner_px: float = (
        0.05  # of the mean corner of a hold; more pictures of the same hold repeat it (virtual rig: 0.04)
    )
    slope: float = 0.3  # of the encoder's metres per radian, about nothing: gauges know better
    eccentricity_rad: float = np.deg2rad(1.0)  # AS5600 datasheet: ±1° for a magnet within 0.25 mm
    misfit: float = 0.01  # chance at which residuals are believed to be larger than stated, and stated larger


@dataclass(frozen=True, eq=False, slots=True)
class HeldJaws:
    """What was seen and read while the jaws rested on gauges.

    Attributes:
        gauge_m: (k,) width of the block.
        px: (k, t, 4, 2) mean corners of finger tags; NaN where unseen.
        angle_rad: (k,) mean reading of the encoder, unwrapped; NaN without.
        angle_sigma_rad: (k,) of that mean.
    """

    gauge_m: Array
    px: Array
    angle_rad: Array
    angle_sigma_rad: Array


@dataclass(frozen=True, eq=False, slots=True)
class Drawn:
    """What is known of a gripper before the gauges.

    Attributes:
        camera: its lens; None where nobody calibrated it: then tags tell nothing.
        camera_sigma: how well that is known; None if nobody said.
        T_cam_tcp: (4, 4); None where rig.json does not say: likewise.
        tags: on the fingers.
        metres_per_rad: about, with its sign.
        tip: (3,) position of the tool frame's origin in the camera's frame and its (3, 3) covariance, if it was
            measured by itself.
    """

    camera: Camera | None
    camera_sigma: CameraSigma | None
    T_cam_tcp: Array | None
    tags: tuple[Tag, ...]
    metres_per_rad: float
    tip: tuple[Array, Array] | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Unknowns:
    """One point of the space that is searched, in units of what is known of it beforehand."""

    x: Array
    tags: int
    holds: int

    @staticmethod
    def beforehand(tags: int, holds: int) -> Unknowns:
        """What is most likely before anything is seen."""
        return Unknowns(np.zeros(16 + 14 * tags + holds), tags, holds)

    @property
    def certainty(self) -> Array:
        """(n,) how surely each is near zero: all as surely, but for the encoder's zero, of which nothing is known."""
        out = np.ones(len(self.x))
        out[13 + 6 * self.tags] = 1e-3
        return out

    @property
    def lens(self) -> slice:
        """Which of them are the lens's."""
        return slice(9 + 6 * self.tags, 12 + 6 * self.tags)

    @property
    def alone(self) -> slice:
        """Which of them are of no one corner and of no one hold."""
        return slice(0, 16 + 6 * self.tags)

    @property
    def mount(self) -> Array:
        return self.x[:6]

    @property
    def glue(self) -> Array:
        return self.x[6 : 6 + 6 * self.tags].reshape(-1, 6)

    @property
    def picture(self) -> Array:
        """Size of tags, widening, uneven fingers, focal length, centre."""
        return self.x[6 + 6 * self.tags :][:6]

    @property
    def encoder(self) -> Array:
        """Slope, zero, sine and cosine of its wave."""
        return self.x[12 + 6 * self.tags :][:4]

    @property
    def beside(self) -> Array:
        return self.x[16 + 6 * self.tags :][: 8 * self.tags].reshape(-1, 4, 2)

    @property
    def seat(self) -> Array:
        return self.x[16 + 14 * self.tags :]


@dataclass(frozen=True, slots=True)
class Worse:
    """By which factor residuals are larger than stated."""

    corners: float = 1.0
    angles: float = 1.0


AS_STATED = Worse()


class GripperModel:
    """Unknowns to pictures and angles, for one drawing and one set of holds."""

    def __init__(self, drawn: Drawn, held: HeldJaws, params: ModelParams | None = None) -> None:
        self.drawn, self.held, self.params = drawn, held, params or ModelParams()
        self.by_tags = drawn.T_cam_tcp is not None and drawn.camera is not None and bool(np.isfinite(held.px).any())
        self.by_encoder = bool(np.isfinite(held.angle_rad).any())
        self.tags = drawn.tags if self.by_tags else ()
        self.read = np.isfinite(held.angle_rad)
        self.seen = np.isfinite(held.px[..., 0, 0]) if self.by_tags else np.zeros((len(held.gauge_m), 0), bool)
        self._share = np.array([SHARE[tag.body] for tag in self.tags])
        first = self.read
        # The zero is sought near a line through the readings.
        self._zero_rad = (
            float(np.mean(held.angle_rad[first] - held.gauge_m[first] / drawn.metres_per_rad))
            if self.by_encoder
            else 0.0
        )

    def unknowns(self, x: Array) -> Unknowns:
        return Unknowns(x, len(self.tags), len(self.held.gauge_m))

    def T_cam_tcp(self, at: Unknowns) -> Array:
        assert self.drawn.T_cam_tcp is not None
        sd = np.repeat([self.params.mount_rad, self.params.mount_m], 3)
        return geometry.se3_exp(at.mount * sd) @ self.drawn.T_cam_tcp  # a camera turns about itself, not about the tip

    def stuck(self, at: Unknowns) -> tuple[Tag, ...]:
        """The tags where they are, of their stated size."""
        sd = np.repeat([self.params.tag_rad, self.params.tag_m], 3)
        T = [tag.T_body_tag @ geometry.se3_exp(glue * sd) for tag, glue in zip(self.tags, at.glue, strict=True)]
        return tuple(replace(tag, T_body_tag=T_tag) for tag, T_tag in zip(self.tags, T, strict=True))

    def size(self, at: Unknowns) -> float:
        """How large tags are, as a share of what is stated."""
        return 1 + self.params.tag_size * float(at.picture[0])

    def uneven(self, at: Unknowns) -> float:
        return self.params.uneven * float(at.picture[2])

    def camera(self, at: Unknowns) -> Camera:
        assert self.drawn.camera is not None
        told = self.drawn.camera_sigma
        focal, centre_px = (self.params.focal, self.params.centre_px) if told is None else (told.focal, told.centre_px)
        fx, fy, cx, cy, *terms = self.drawn.camera.params
        stretch = 1 + focal * float(at.picture[3])
        cx, cy = cx + centre_px * float(at.picture[4]), cy + centre_px * float(at.picture[5])
        return replace(self.drawn.camera, params=(fx * stretch, fy * stretch, cx, cy, *terms))

    def encoder(self, at: Unknowns, noise_rad: float = 0.0) -> JawEncoder:
        slope, zero, sine, cosine = at.encoder.tolist()
        wave = self.params.eccentricity_rad * complex(sine, -cosine)  # e·sin(θ - φ) = e·cos φ·sin θ - e·sin φ·cos θ
        return JawEncoder(
            metres_per_rad=self.drawn.metres_per_rad / (1 + self.params.slope * float(slope)),
            zero_rad=float((self._zero_rad + zero) % (2 * np.pi)),
            eccentricity_rad=min(abs(wave), 0.19),
            eccentricity_phase_rad=float(np.angle(wave) % (2 * np.pi)) if abs(wave) > 0 else 0.0,
            noise_rad=noise_rad,
        )

    def angles_rad(self, at: Unknowns, opening_m: Array) -> Array:
        """(...,) readings, unwrapped, at openings (...,)."""
        slope, zero, sine, cosine = at.encoder.tolist()
        true = self._zero_rad + zero + opening_m * (1 + self.params.slope * slope) / self.drawn.metres_per_rad
        return true + self.params.eccentricity_rad * (sine * np.sin(true) + cosine * np.cos(true))

    def corners_px(self, at: Unknowns, opening_m: Array) -> Array:
        """(k, t, 4, 2) corners at openings (k,), without what the tone curve does to them."""
        flat = np.array([[-1.0, -1.0, 0.0], [1.0, -1.0, 0.0], [1.0, 1.0, 0.0], [-1.0, 1.0, 0.0]])
        size = self.size(at)
        corners = np.array(
            [geometry.transform(tag.T_body_tag, flat * (size * tag.size_m / 2)) for tag in self.stuck(at)]
        )
        goes = (self._share + self.uneven(at)) * opening_m[:, None]
        p_cam = geometry.transform(self.T_cam_tcp(at), corners + goes[..., None, None] * _X)
        return self.camera(at).project(p_cam)[0]

    def residuals(self, x: Array, worse: Worse = AS_STATED) -> tuple[Array, Array, Array]:
        """Of corners, of angles, and of the tip's place where that was measured: each in its own sigmas."""
        at = self.unknowns(x)
        opening_m = self.held.gauge_m + self.params.seat_m * at.seat
        corners = angles = tip = np.zeros(0)
        if self.by_tags:
            off = (self._seen_px(at, opening_m) - self.held.px)[self.seen]
            corners = off.ravel() / (self.params.corner_px * worse.corners)
        if self.by_encoder:
            off = (self.angles_rad(at, opening_m) - self.held.angle_rad)[self.read]
            angles = off / (self.held.angle_sigma_rad[self.read] * worse.angles)
        if self.drawn.tip is not None and self.by_tags:
            p_cam, cov = self.drawn.tip
            tip = np.asarray(np.linalg.solve(np.linalg.cholesky(cov), self.T_cam_tcp(at)[:3, 3] - p_cam), float)
        return corners, angles, tip

    @property
    def hold_of_row(self) -> NDArray[np.int64]:
        """Which hold each residual of corners and angles belongs to."""
        return np.concatenate([np.repeat(np.nonzero(self.seen)[0], 8), np.flatnonzero(self.read)])

    @property
    def tag_of_row(self) -> NDArray[np.int64]:
        """Which tag; -1 for the encoder."""
        return np.concatenate([np.repeat(np.nonzero(self.seen)[1], 8), np.full(int(self.read.sum()), -1)])

    def _seen_px(self, at: Unknowns, opening_m: Array) -> Array:
        px = self.corners_px(at, opening_m)
        outward = px - px.mean(axis=2, keepdims=True)
        outward /= np.maximum(np.linalg.norm(outward, axis=3, keepdims=True), 1e-9)
        px = px + self.params.widening_px * at.picture[1] * np.sqrt(2) * outward
        # Whatever moves a whole tag's picture moves it every day: it is for the tag's place to take up.
        return px + self.params.beside_px * (at.beside - at.beside.mean(axis=1, keepdims=True))


def mean_opening_m(px: Array, camera: Camera, T_cam_tcp: Array, tags: Sequence[Tag]) -> Array:
    """(k,) opening by the mean of the tags seen in corners (k, t, 4, 2); NaN where none is."""
    k, t = np.nonzero(np.isfinite(px[..., 0, 0]))
    by_finger = np.full(px.shape[:2], np.nan)
    by_finger[k, t] = openings_m(FingerSights(k, t, px[k, t]), camera, T_cam_tcp, tags)
    seen = np.isfinite(by_finger)
    return np.where(seen.any(axis=1), np.nansum(by_finger, axis=1) / np.maximum(seen.sum(axis=1), 1), np.nan)
