"""Which camera of the rig is which of those plugged in, or in the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from handcap.devices import Asked, VideoSource, video_source
from handcap.devices.discovery import FoundCamera
from handcap.errors import UsageError
from handcap.types import CameraPlug, MountedCamera, Rig


@dataclass(frozen=True, slots=True)
class CameraAt:
    """Where a camera of the rig is, and what is asked of it."""

    source: VideoSource
    asked: Asked


def find_cameras(
    rig: Rig, named: Mapping[str, str] | None = None, found: Sequence[FoundCamera] | None = None
) -> dict[str, CameraAt]:
    """The rig's cameras that are opened here, by name; the others come from camera nodes.

    Args:
        rig: its cameras' plugs say what each is found by and set to.
        named: what the user names instead, by camera: a device or an address.
        found: cameras of this computer; None: look.

    Raises:
        UsageError: a camera that the rig does not know.
        DeviceError: one is not plugged in.
    """
    named = named or {}
    for name in named:
        if name not in rig.cameras:
            raise UsageError(
                f"rig {rig.rig_id} has no camera {name!r} (its cameras: {', '.join(rig.cameras) or 'none'})",
                where=f"--camera {name}",
                mend="name one of these, or give the rig that has it with --rig",
            )
    out: dict[str, CameraAt] = {}
    for name, camera in rig.cameras.items():
        plug = camera.plug or CameraPlug()
        uid = named.get(name, plug.uid)
        if uid is not None:
            size = (camera.camera.width, camera.camera.height)
            out[name] = CameraAt(video_source(uid, found), Asked(plug.format, size, plug.rate_hz))
    return out


def parse_cameras(given: Sequence[str]) -> dict[str, str]:
    """`NAME=SOURCE` each. Raises UsageError."""
    out: dict[str, str] = {}
    for text in given:
        name, _, source = text.partition("=")
        if not name or not source or name in out:
            what = "names one camera twice" if name in out else "is not NAME=SOURCE"
            raise UsageError(what, where=f"--camera {text}", mend="write it as --camera head=/dev/video0, once each")
        out[name] = source
    return out


def as_stamped(rig: Rig, cameras: Mapping[str, CameraAt]) -> Rig:
    """The rig as this recording's stamps have it.

    A stamp of arrival is late by the network, which no calibration knows: the offset of such a camera is uncertain
    again, and is looked for in every take. A triggered camera is tied to its pulses and stays as it is.
    """

    def doubted(name: str, camera: MountedCamera) -> bool:
        free = camera.plug is None or camera.plug.trigger is None
        return name in cameras and cameras[name].source.network and free

    known = rig.cameras.items()
    return replace(rig, cameras={n: replace(c, dt_sigma_s=None) if doubted(n, c) else c for n, c in known})
