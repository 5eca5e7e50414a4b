"""What the stage is told and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from handcap.geometry import Array
from handcap.reconstruct import bundle, landmarks, sfm, sync
from handcap.reconstruct.adopt import AdoptParams
from handcap.reconstruct.align import AlignParams
from handcap.reconstruct.carried import CarriedParams
from handcap.reconstruct.chain import Chain
from handcap.reconstruct.extend import ExtendParams
from handcap.reconstruct.eyes import EyesParams
from handcap.reconstruct.frontend import FrontendParams
from handcap.reconstruct.hands import HandParams
from handcap.reconstruct.jaw import JawParams
from handcap.reconstruct.keyframes import KeyframeParams
from handcap.reconstruct.limits import VerdictParams
from handcap.reconstruct.merge import MergeParams
from handcap.reconstruct.mounts import MountParams
from handcap.reconstruct.patches import PatchParams
from handcap.reconstruct.planes import PlaneParams
from handcap.reconstruct.relocalise import RelocaliseParams
from handcap.reconstruct.room import Room, RoomParams
from handcap.reconstruct.session_map import SessionMapParams
from handcap.reconstruct.sightings import TieParams
from handcap.reconstruct.stretches import StretchParams
from handcap.reconstruct.verdict import Judgement
from handcap.reconstruct.workspace import WorkspaceParams
from handcap.types import MountedCamera, Stamps

Progress = Callable[[str, float], None]  # told what is being done, and the share that is done


@dataclass(frozen=True, slots=True)
class ReconstructParams:
    """All tuning of the stage, by step."""

    every: int = 1  # of how many pictures one is looked at
    share: bool = True  # what earlier takes of the session know is used, and later ones are left what this one knows
    twice: bool = True  # once solved, tracks are joined and laid anew, and all is solved again
    sync: sync.SyncParams = field(default_factory=sync.SyncParams)
    frontend: FrontendParams = field(default_factory=FrontendParams)
    keyframes: KeyframeParams = field(default_factory=KeyframeParams)
    sfm: sfm.SfmParams = field(default_factory=sfm.SfmParams)
    align: AlignParams = field(default_factory=AlignParams)
    gate: landmarks.GateParams = field(default_factory=landmarks.GateParams)
    bundle: bundle.BundleParams = field(default_factory=bundle.BundleParams)
    extend: ExtendParams = field(default_factory=ExtendParams)
    merge: MergeParams = field(default_factory=MergeParams)
    patches: PatchParams = field(default_factory=PatchParams)
    room: RoomParams = field(default_factory=RoomParams)
    session_map: SessionMapParams = field(default_factory=SessionMapParams)
    relocalise: RelocaliseParams = field(default_factory=RelocaliseParams)
    tie: TieParams = field(default_factory=TieParams)
    adopt: AdoptParams = field(default_factory=AdoptParams)
    carried: CarriedParams = field(default_factory=CarriedParams)
    jaw: JawParams = field(default_factory=JawParams)
    eyes: EyesParams = field(default_factory=EyesParams)
    mounts: MountParams = field(default_factory=MountParams)
    hands: HandParams = field(default_factory=HandParams)
    verdict: VerdictParams = field(default_factory=VerdictParams)
    planes: PlaneParams = field(default_factory=PlaneParams)
    workspace: WorkspaceParams = field(default_factory=WorkspaceParams)
    stretches: StretchParams = field(default_factory=StretchParams)
    start_keyframes: int = 45  # structure from motion over 9 s: enough turning and speeding up to fix scale and gravity
    start_attempts: int = 4
    least_start: int = 8  # keyframes of it that must come out; a covered lens may have cut the stretch in two
    first_rounds: int = 1  # before tracks are joined: good enough to join them
    final_rounds: int = 4  # stops once the offset and the noise levels have settled
    half_iterations: int = 6  # of each half of the landmarks alone, which starts at the solution of both
    offset_converged_s: float = 2e-5
    offset_prior_s: float = 0.05  # nothing better is known of an uncalibrated offset after the coarse search
    most_views: int = 24  # of a track in the whole take's solution
    most_noise_scale: float = 50.0


def field_params() -> ReconstructParams:
    """Of the field pass: half the pictures, at half their size, solved once; enough to foretell the verdict."""
    return ReconstructParams(
        every=2,
        share=False,
        twice=False,
        frontend=FrontendParams(points=220, spacing_px=9.0, max_width_px=480),
        keyframes=KeyframeParams(period_s=0.3),
        start_keyframes=30,  # 9 s, as in the full pass
        # From where it mostly ends, and the longest tracks alone: a third of the time, the same poses to 0.4°.
        sfm=sfm.SfmParams(start_deg=4.0, start_tracks=50, most_tracks=100),
        bundle=bundle.BundleParams(iterations=12, relative_tolerance=1e-4),
        mounts=MountParams(sigmas=4.5),  # features drift together, and the full pass looks again
        tie=TieParams(every=3, cameras=1, rounds=3),
        jaw=JawParams(every=5),
        verdict=VerdictParams(
            motion_views=3,  # 0.9 s, as in the full pass
            min_marks=6,  # of fewer points
            max_imu_mismatch=4.0,  # coarser pixels speak half as loud against an inertial sensor
            longest_bridge_s=0.55,  # a gap is longer by the picture left out beside it
        ),
    )


@dataclass(frozen=True, eq=False, slots=True)
class MapPoints:
    """Sparse map: (m, 3) points in the world, m; (m,) number of views; (m,) track ids."""

    p_world: Array
    views: NDArray[np.int64]
    track: NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class Residuals:
    """What the solution leaves at each kept observation: (k,) stamps as recorded, (k, 2) pixel and residual, px."""

    camera_t_ns: Stamps
    pixel: Array
    residual_px: Array
    track: NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class Reconstruction:
    """What became of one device in one take; the chain is None when it was refused.

    `mounts` holds the cameras, by name, that sit or look otherwise than calibrated, as the take would have them;
    `unfit` those that do not see what they should.
    """

    body: str
    judgement: Judgement
    time_offset_s: float | None
    time_offset_sigma_s: float | None
    rel_sigma_1s: tuple[float | None, float | None]  # m and rad, per axis
    chain: Chain | None = None
    map_points: MapPoints | None = None
    residuals: Residuals | None = None
    room: Room | None = None  # none in a quick pass
    seconds: dict[str, float] = field(default_factory=dict)
    mounts: Mapping[str, MountedCamera] = field(default_factory=dict)
    unfit: tuple[str, ...] = ()
