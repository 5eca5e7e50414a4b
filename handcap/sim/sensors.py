"""The sensors of a virtual rig: when each one samples, on whose clock, and the packets it sends."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from handcap import clock
from handcap.child import Child
from handcap.encoder import JawEncoder
from handcap.session.inertial import to_session_clock
from handcap.session.journal import ClockFit
from handcap.sim import faults, imu
from handcap.sim.boardclock import BoardClock, fitted
from handcap.sim.encoder import encoder_envelopes
from handcap.sim.faults import Fault
from handcap.sim.pictures import pictures
from handcap.sim.streams import Packet, WirePacket, imu_packets, merged
from handcap.sim.world import World
from handcap.types import Rig

if TYPE_CHECKING:
    from handcap.sim.simulation import SimulationParams

_MARGIN_S = 1.0  # the IMU runs this long before the first picture and after the last
# Each purpose draws from its own stream, so that one more number in one place changes nothing elsewhere.
_IMU, _CLOCK, _ENCODER, _FAULT, _PART = 3, 6, 8, 9, 10
_ENCODER_HZ = 100.0
_LATE_S = 0.05  # boards whose clock must be fitted begin so much later: no stamp is before the session
_WIRE_NS = 800_000  # a message is on its way for this long

Stamps = NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class Sensors:
    """When everything is sampled.

    Attributes:
        params: what the sensors are like.
        seed: of their noise.
        clocks: of the boards; the first device's clock is the session's and needs none.
        fits: what the host knows of those clocks, and its residual, s.
        imu_ns: (n,) true times of the IMU samples, by device.
        imu_stamped_ns: (n,) the stamps they get, session clock.
        imu_kept: (n,) which of them arrive.
        schedule_ns: (m,) true mid-exposures of all pictures that the cameras take.
        shown: (k,) which of those each recorded picture shows, by camera.
        exposed_ns: (k,) when each recorded picture should have been taken, true time, by camera.
        stamped_ns: (k,) the stamps they get, session clock, by camera.
        encoders: of the jaws, by side.
    """

    params: SimulationParams
    seed: int
    clocks: Mapping[str, BoardClock]
    fits: Mapping[str, tuple[ClockFit, float]]
    imu_ns: Mapping[str, Stamps]
    imu_stamped_ns: Mapping[str, Stamps]
    imu_kept: Mapping[str, NDArray[np.bool_]]
    schedule_ns: Stamps
    shown: Mapping[str, NDArray[np.int64]]
    exposed_ns: Mapping[str, Stamps]
    stamped_ns: Mapping[str, Stamps]
    encoders: Mapping[str, JawEncoder]

    @classmethod
    def of(cls, rig: Rig, duration_s: float, params: SimulationParams, seed: int) -> Sensors:
        """Sensors of a rig that runs for `duration_s`."""
        frames = np.arange(int(np.floor(duration_s * params.camera_rate_hz + 1e-9)))
        exposed = clock.nanoseconds(_MARGIN_S + frames / params.camera_rate_hz)
        last_s = float(clock.seconds(exposed[-1])) + _MARGIN_S
        clocks: dict[str, BoardClock] = {}
        fits: dict[str, tuple[ClockFit, float]] = {}
        for k, name in enumerate(list(rig.devices)[1:] if params.clock_errors else []):
            rng = np.random.default_rng([seed, _CLOCK, k])
            clocks[name] = BoardClock.drawn(rng)
            fits[name] = fitted(clocks[name], 0.0, last_s, rng)
        imu_ns: dict[str, Stamps] = {}
        for name, device in rig.devices.items():
            rate_hz = device.imu.rate_hz
            start = int(_LATE_S * rate_hz) if name in clocks else 0
            imu_ns[name] = clock.nanoseconds(np.arange(start, int(np.floor(last_s * rate_hz + 1e-9)) + 1) / rate_hz)
        sensors = cls(
            params=params,
            seed=seed,
            clocks=clocks,
            fits=fits,
            imu_ns=imu_ns,
            imu_stamped_ns={},
            imu_kept={},
            schedule_ns=exposed,
            shown={},
            exposed_ns={},
            stamped_ns={},
            encoders={side: gripper.encoder or JawEncoder() for side, gripper in rig.grippers.items()},
        )
        return sensors._struck(rig)

    def _struck(self, rig: Rig) -> Sensors:
        """With the stamps that come out and without what gets lost, all faults applied."""
        imu_stamped: dict[str, Stamps] = {}
        imu_kept: dict[str, NDArray[np.bool_]] = {}
        for name, t_ns in self.imu_ns.items():
            striking = [fault for fault in self.params.faults if fault.strikes_board(name)]
            imu_stamped[name] = self._stamps(striking, self.as_stamped(name, t_ns))
            imu_kept[name] = self._kept(striking, t_ns)
        shown: dict[str, NDArray[np.int64]] = {}
        exposed: dict[str, Stamps] = {}
        stamped: dict[str, Stamps] = {}
        for name, camera in rig.cameras.items():
            striking = [fault for fault in self.params.faults if fault.strikes_camera(name, camera.device)]
            number = np.arange(len(self.schedule_ns))
            for fault in striking:
                number = number[faults.shown_instead(fault, self.schedule_ns)]
            # A camera is triggered by its board, whose clock stamps it.
            at_board = self.as_stamped(camera.device, self.schedule_ns) - clock.nanoseconds(camera.dt_imu_cam_s)
            kept = self._kept(striking, self.schedule_ns)
            shown[name], exposed[name] = number[kept], self.schedule_ns[kept]
            stamped[name] = self._stamps(striking, at_board)[kept]
        return replace(
            self, imu_stamped_ns=imu_stamped, imu_kept=imu_kept, shown=shown, exposed_ns=exposed, stamped_ns=stamped
        )

    def fault_rng(self, fault: Fault) -> np.random.Generator:
        """The same numbers for every stream that a fault strikes."""
        return np.random.default_rng([self.seed, _FAULT, list(self.params.faults).index(fault)])

    def _stamps(self, striking: Sequence[Fault], t_ns: Stamps) -> Stamps:
        for fault in striking:
            t_ns = faults.stamps_after(fault, t_ns, self.fault_rng(fault))
        return t_ns

    def _kept(self, striking: Sequence[Fault], t_ns: Stamps) -> NDArray[np.bool_]:
        kept = np.ones(len(t_ns), bool)
        for fault in striking:
            kept &= faults.keeps(fault, t_ns, self.fault_rng(fault))
        return kept

    def as_stamped(self, device: str, t_ns: Stamps) -> Stamps:
        """What the host makes of a board's stamps of true times (n,): session clock, wrong by the fit's residual."""
        if device not in self.clocks:
            return t_ns
        return to_session_clock(self.clocks[device].stamps(t_ns), [self.fits[device][0]])

    @property
    def end_s(self) -> float:
        return float(clock.seconds(max(int(t_ns[-1]) for t_ns in self.imu_ns.values())))


@dataclass(frozen=True, eq=False, slots=True)
class Recording:
    """A world as its sensors give it out.

    Attributes:
        world: what is sensed.
        sensors: by what.
        imu: every device's samples at their true times, imu axes, with their true errors.
    """

    world: World
    sensors: Sensors
    imu: Mapping[str, imu.ImuRecording]

    def packets(self, on_progress: Callable[[int, int], None], helpers: Sequence[Child] = ()) -> Generator[Packet]:
        """Everything in the order of its stamps; `helpers` of a `crew` make some of the pictures."""
        seen = pictures(self.world, self.sensors, helpers, on_progress)
        inertial = [self._imu_packets(device) for device in self.imu]
        jaws = [self._encoder_packets(side) for side in self.sensors.encoders]
        with closing(seen):
            yield from merged([seen, *inertial, *jaws])

    def _imu_packets(self, device: str) -> Iterator[Packet]:
        R_chip_imu, kept = self.world.rig.devices[device].R_imu_chip.T, self.sensors.imu_kept[device]
        samples, stamps = self.imu[device].samples, self.sensors.imu_stamped_ns[device][kept]
        gyro, accel = samples.gyro_imu[kept] @ R_chip_imu.T, samples.accel_imu[kept] @ R_chip_imu.T
        yield from imu_packets(device, stamps, gyro, accel)

    def _encoder_packets(self, side: str) -> Iterator[Packet]:
        sensors = self.sensors
        t_ns = clock.nanoseconds(np.arange(_LATE_S, sensors.end_s, 1 / _ENCODER_HZ))
        rng = np.random.default_rng([sensors.seed, _ENCODER, list(sensors.encoders).index(side) + 1])
        opening_m = self.world.opening_m["left" if side == "left" else "right"].at(clock.seconds(t_ns))[:, 0]
        counts = sensors.encoders[side].counts(opening_m, rng)
        striking = [fault for fault in sensors.params.faults if fault.strikes_board(side)]
        shown_ns = sensors.clocks[side].stamps(t_ns) if side in sensors.clocks else t_ns
        received_ns = sensors.as_stamped(side, t_ns) + _WIRE_NS
        for last, envelope in encoder_envelopes(shown_ns, counts, boot_id=int(rng.integers(1, 2**32))):
            at_ns = t_ns[last : last + 1]
            if not any(fault.kind == "unplug" and fault.active(at_ns)[0] for fault in striking):
                yield WirePacket(int(received_ns[last]), side, envelope)


def sense(world: World, sensors: Sensors) -> Recording:
    """Let the inertial sensors run over the whole world; pictures are made when they are asked for."""
    recordings: dict[str, imu.ImuRecording] = {}
    for k, (device, t_ns) in enumerate(sensors.imu_ns.items()):
        rng = np.random.default_rng([sensors.seed, _IMU, k])
        part = np.random.default_rng([sensors.params.serial_for(sensors.seed), _PART, k])
        model = world.rig.devices[device].imu
        recordings[device] = imu.record(world.motion[device], model, sensors.params.imu, t_ns, rng, part)
    return Recording(world, sensors, recordings)
