"""The virtual rig, live: takes rendered ahead, then played in real time by a process of their own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from handcap import session
from handcap.child import let_end
from handcap.devices import Board
from handcap.errors import DeviceError
from handcap.types import Rig

NODE = "cameras"
_LONGER_S = 0.5  # whoever ends a take by the clock ends it a little late


@dataclass(frozen=True, slots=True)
class VirtualRig:
    """What is plugged in.

    Attributes:
        ports: by device of the rig; the camera node's under `NODE`.
        rendered: session folder that is played.
        player: process that plays it.
    """

    ports: Mapping[str, str]
    rendered: Path
    player: subprocess.Popen[str]

    def do(self, what: str, to: str, value: float = 0.0) -> None:
        """Something goes wrong, as `handcap.sim.live.LiveRig.do` says."""
        assert self.player.stdin is not None
        self.player.stdin.write(json.dumps({"what": what, "to": to, "value": value}) + "\n")
        self.player.stdin.flush()

    def rig(self, boards: Mapping[str, Board]) -> Rig:
        """Its calibration, with the numbers that its boards give."""
        rig = session.read_rig(self.rendered / "rig.json")
        devices = {name: replace(device, uid=boards[name].uid) for name, device in rig.devices.items()}
        return replace(rig, devices=devices)


@contextmanager
def virtual_rig(
    takes: int,
    seconds: float,
    seed: int = 0,
    on_progress: Callable[[str, float], None] = lambda what, fraction: None,
    rendered: Path | None = None,
    loop: bool = False,
) -> Iterator[VirtualRig]:
    """Plug in a virtual full rig; it is unplugged when the block ends.

    Args:
        takes: that differ, played one after the other, and from the first again.
        seconds: of each.
        seed: of room and motion.
        on_progress: of the rendering.
        rendered: a simulated session to play instead.
        loop: a take begins again where it ends.

    Raises:
        DeviceError: it does not start.
        SessionError: `rendered` is no session.
    """
    with tempfile.TemporaryDirectory(prefix="handcap-virtual-") as folder:
        path = rendered
        if path is not None:
            session.read(path)  # says in plain words why it cannot be played
        else:
            from handcap import sim  # renders: slow to import
            from handcap.sim.person import HeadParams

            path = Path(folder) / "rendered"
            sim.simulate(
                path,
                scene="kitchen",
                seconds=max(seconds + _LONGER_S, 1.0),
                rig="full",
                seed=seed,
                params=sim.SimulationParams(later=(HeadParams(),) * (takes - 1)),
                on_progress=lambda done, total: on_progress("Rendering", done / total),
            )
        command = [sys.executable, "-m", "handcap.sim.live", str(path), str(seed), *(["--loop"] if loop else [])]
        player = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert player.stdin is not None and player.stdout is not None
        try:
            line = player.stdout.readline()
            if not line:
                raise DeviceError("the virtual rig did not start", where=path, mend="run it again")
            told = json.loads(line)
            yield VirtualRig({**told["boards"], NODE: told["node"]}, path, player)
        finally:
            let_end(player, 5)
            player.stdout.close()
