"""The laptop on somebody's back: disk, battery, heat and sleep."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue

import pytest
from recording import RIG, jpeg, session_meta

from handcap.capture import Capture
from handcap.capture.awake import Awake
from handcap.capture.field_pass import FieldPasses
from handcap.capture.operator import Said, Wishes
from handcap.capture.room import Room, RoomParams
from handcap.capture.worn import Worn, WornParams
from handcap.causes import LANGUAGES
from handcap.devices.computer import battery_share, read_computer
from handcap.errors import SessionError

HERE = Path(__file__).parent


def write(root: Path, files: Mapping[str, object]) -> None:
    for name, value in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")


BATTERY = {
    "sys/class/power_supply/BAT0/type": "Battery",
    "sys/class/power_supply/BAT0/present": 1,
    "sys/class/power_supply/BAT0/status": "Discharging",
    "sys/class/power_supply/BAT0/energy_now": 30_000_000,
    "sys/class/power_supply/BAT0/energy_full": 60_000_000,
    "sys/class/power_supply/BAT0/power_now": 20_000_000,
    "sys/class/power_supply/BAT0/capacity": 50,
    "sys/class/power_supply/AC/type": "Mains",
    "sys/class/power_supply/AC/online": 0,
    # A mouse has a battery too, and it is not what the computer runs on.
    "sys/class/power_supply/hidpp_battery_0/type": "Battery",
    "sys/class/power_supply/hidpp_battery_0/scope": "Device",
    "sys/class/power_supply/hidpp_battery_0/status": "Discharging",
    "sys/class/power_supply/hidpp_battery_0/capacity": 3,
}
PROCESSOR = {
    "sys/class/hwmon/hwmon0/name": "nvme",
    "sys/class/hwmon/hwmon0/temp1_input": 88_000,
    "sys/class/hwmon/hwmon1/name": "coretemp",
    "sys/class/hwmon/hwmon1/temp1_input": 61_000,
    "sys/class/hwmon/hwmon1/temp1_crit": 100_000,
    "sys/class/hwmon/hwmon1/temp2_input": 63_000,
    "sys/class/hwmon/hwmon1/temp2_crit": 100_000,
    "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count": 4,
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq": 2_000_000,
    "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": 4_000_000,
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave",
    "proc/meminfo": "MemTotal: 16000000 kB\nMemAvailable: 2000000 kB",
}
THROTTLES = "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count"
HOT = {"sys/class/hwmon/hwmon1/temp2_input": 95_000}
WARM = {"sys/class/hwmon/hwmon1/temp2_input": 89_000}
COOL = {"sys/class/hwmon/hwmon1/temp2_input": 60_000}
LOW = {"sys/class/power_supply/BAT0/energy_now": 4_000_000}
PLUGGED = {"sys/class/power_supply/BAT0/status": "Charging"}


def test_a_laptop_tells_how_it_does(tmp_path: Path) -> None:
    write(tmp_path, BATTERY | PROCESSOR)
    told = read_computer(tmp_path)
    assert told.battery is not None and told.battery.discharging
    assert told.battery.percent == 50 and told.battery.minutes == 90 and battery_share(tmp_path) == 0.5
    assert (told.temperature_c, told.critical_c, told.throttled) == (63, 100, 4)
    assert (told.speed, told.governor, told.memory_free_gb) == (0.5, "powersave", 2.048)


def test_a_battery_that_counts_charge_tells_the_same(tmp_path: Path) -> None:
    names = {"energy_now": "charge_now", "energy_full": "charge_full", "power_now": "current_now"}
    files = {
        f"{name.rsplit('/', 1)[0]}/{names.get(name.rsplit('/', 1)[1], name.rsplit('/', 1)[1])}": value
        for name, value in BATTERY.items()
    }
    write(tmp_path, files | {"sys/class/power_supply/BAT0/voltage_now": 12_000_000})
    battery = read_computer(tmp_path).battery
    assert battery is not None and battery.minutes == pytest.approx(90) and battery.percent == pytest.approx(50)


def test_a_board_without_hwmon_tells_its_heat_by_its_thermal_zone(tmp_path: Path) -> None:
    zone = "sys/class/thermal/thermal_zone0"
    trips = {f"{zone}/trip_point_0_type": "passive", f"{zone}/trip_point_0_temp": 75_000}
    trips |= {f"{zone}/trip_point_1_type": "critical", f"{zone}/trip_point_1_temp": 90_000}
    write(tmp_path, {f"{zone}/type": "cpu-thermal", f"{zone}/temp": 58_000} | trips)
    told = read_computer(tmp_path)
    assert (told.temperature_c, told.critical_c) == (58, 90)


def test_what_a_computer_does_not_tell_is_unknown_and_nonsense_is_too(tmp_path: Path) -> None:
    told = read_computer(tmp_path)
    assert all(getattr(told, name) is None for name in told.__slots__)
    write(tmp_path, dict.fromkeys(BATTERY | PROCESSOR, "\x00?"))
    assert read_computer(tmp_path).battery is None
    assert read_computer(tmp_path).temperature_c is None


class Watched:
    """A recording without boards on a laptop that is a folder of files."""

    def __init__(self, folder: Path, field: bool = False) -> None:
        self.root, self.said = folder / "laptop", list[Said]()
        write(self.root, BATTERY | PROCESSOR)
        self.running = Capture(folder / "session", session_meta("capture"), RIG, {}, field_pass=field)
        self.wishes: Wishes = SimpleQueue()
        params = WornParams(look_s=3600.0, calm_looks=3)
        self.worn = Worn(self.running, self.said.append, self.wishes, params, self.root)

    def look(self, changed: Mapping[str, object] | None = None) -> list[str]:
        """What is said of the laptop as it is now."""
        write(self.root, changed or {})
        before = len(self.said)
        self.worn.look()
        assert all(set(one.sentence) == set(LANGUAGES) for one in self.said)
        return [one.sentence["en"] for one in self.said[before:]]

    def close(self) -> None:
        self.worn.close()
        self.running.close()


@pytest.fixture
def watched(tmp_path: Path):
    made: list[Watched] = []

    def make(field: bool = False) -> Watched:
        made.append(Watched(tmp_path, field))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_laptop_that_is_well_says_nothing(watched: Callable[..., Watched]) -> None:
    one = watched(field=True)
    assert one.look() == one.look() == []
    state = one.worn.state
    assert (state.battery_minutes, state.on_battery, state.temperature_c, state.held) == (90, True, 63, None)
    assert state.gb_per_hour > 0


def test_a_low_battery_is_told_once_and_again_only_after_it_was_charged(watched: Callable[..., Watched]) -> None:
    one = watched()
    (said,) = one.look(LOW)
    assert "12 minutes" in said and "Plug it in" in said
    assert one.look() == []
    assert one.look(PLUGGED) == []
    assert len(one.look({"sys/class/power_supply/BAT0/status": "Discharging"})) == 1


def test_judging_waits_while_the_laptop_is_hot_and_goes_on_when_it_is_clearly_cooler(
    watched: Callable[..., Watched],
) -> None:
    one = watched(field=True)
    passes = one.running.field
    assert passes is not None
    (said,) = one.look(HOT)
    assert "hot" in said and passes.held is not None and one.worn.state.held is not None
    assert one.look(WARM) == [] and passes.held is not None, "hot until it is clearly cooler"
    one.look(COOL)
    assert passes.held is None


def test_judging_waits_after_the_processor_slowed_down(watched: Callable[..., Watched]) -> None:
    one = watched(field=True)
    passes = one.running.field
    assert passes is not None
    one.look({THROTTLES: 9})
    assert passes.held is not None
    one.look()
    assert passes.held is not None
    one.look()
    one.look()
    assert passes.held is None


def test_judging_waits_on_a_low_battery_until_it_is_plugged_in(watched: Callable[..., Watched]) -> None:
    one = watched(field=True)
    passes = one.running.field
    assert passes is not None
    one.look(LOW)
    assert passes.held is not None and "battery" in passes.held
    one.look({"sys/class/power_supply/BAT0/energy_now": 30_000_000})
    assert passes.held is not None, "minutes jump about; low is low until it is charged"
    one.look(PLUGGED)
    assert passes.held is None


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def test_a_pass_that_is_held_stands_still_and_goes_on_where_it_was(tmp_path: Path) -> None:
    passes = FieldPasses(tmp_path)  # no session: the pass starts, and says so in the end
    try:
        passes.add("0001")
        until = time.monotonic() + 20
        while (running := passes._running) is None:  # pyright: ignore[reportPrivateUsage]
            assert time.monotonic() < until
            time.sleep(0.005)
        passes.hold("hot")
        while state_of(running.pid) != "T":
            assert time.monotonic() < until
            time.sleep(0.005)
        assert passes.wait(0.2) is False and passes.unjudged == ["0001"]
        passes.resume()
        assert passes.wait(60) and passes.verdicts["0001"].verdict == "unjudged"
        passes.hold("hot")
        passes.add("0002")
        assert passes.wait(0.3) is False and passes.unjudged == ["0002"]
    finally:
        passes.close()


def in_namespace(*line: str, skip: str) -> subprocess.CompletedProcess[str]:
    try:
        subprocess.run([*line[: line.index("--mount") + 1], "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip(skip)
    done = subprocess.run(line, capture_output=True, text=True, timeout=90, check=False)
    if done.returncode == 77:
        pytest.skip(f"{skip}: {done.stdout}")
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_a_take_ends_in_good_order_before_the_disk_is_full_and_the_next_is_not_started(tmp_path: Path) -> None:
    line = ["unshare", "--user", "--map-root-user", "--mount", sys.executable, str(HERE / "filling_disk.py")]
    told = json.loads(in_namespace(*line, str(tmp_path), skip="no mount namespaces here").stdout)
    kinds = [kind for kind, _ in told["said"]]
    sentences = [sentence for kind, sentence in told["said"] if kind == "warning"]
    assert told["states"] == {"0001": "ended"}
    assert told["dropped"] == 0 and told["pictures"] > 0.95 * told["put"]
    assert told["bytes_per_s"] == pytest.approx(5e6, rel=0.5)
    assert told["left"] > 4e6, "room was kept for closing"
    assert sum("more minutes" in one for one in sentences) == 2
    assert sum("is ended, and it is safe" in one for one in sentences) == 1
    assert kinds.count("started") == 1 and any("no room for a minute" in one for one in sentences), told["said"]


def test_minutes_left_come_from_what_is_written(tmp_path: Path) -> None:
    with Capture(tmp_path / "session", session_meta("capture"), RIG, {}, field_pass=False) as running:
        room = Room(running.path, RIG, RoomParams(window_s=10.0))
        nominal = room.bytes_per_s
        take = running.start()
        room.measure(take)
        picture = jpeg(1, 320, 240)
        began = time.monotonic()
        for k in range(40):
            running.recorder.put_picture("head", 10_000_000 * (k + 1), picture, "jpeg")
            time.sleep(0.06)
        room.measure(take)
        took_s = time.monotonic() - began
        assert room.bytes_per_s != nominal
        assert room.bytes_per_s == pytest.approx(40 * len(picture) / took_s, rel=0.35)
        assert room.minutes() == pytest.approx(room.free_bytes() / room.bytes_per_s / 60, rel=0.1)
        full = Room(running.path, RIG, replace(room.params, reserve_bytes=1 << 60))
        with pytest.raises(SessionError, match="no room for a minute") as told:
            full.require()
        assert "another disk" in (told.value.mend or "")


def test_logind_keeps_the_computer_awake_while_a_recorder_lives_and_no_longer() -> None:
    if os.geteuid() != 0:
        pytest.skip("a system bus of its own needs root")
    line = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--mount", "sh"]
    script = [str(HERE / "awake_under_logind.sh"), sys.executable, str(HERE / "awake.py")]
    told = json.loads(in_namespace(*line, *script, skip="systemd-logind does not run here").stdout)
    assert told["warnings"] == ["None", "None"]
    for held in (told["during"], told["again"]):
        assert len(held) == 1 and "sleep:idle:handle-lid-switch" in held[0] and "block" in held[0]
    assert told["after_end"] == told["after_kill"] == []


def test_without_logind_it_is_said_once_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/none")
    with Awake() as awake:
        assert awake.warning is not None and "leave the lid open" in awake.warning["en"]
    monkeypatch.setenv("PATH", str(tmp_path))
    with Awake() as awake:
        assert awake.warning is not None and "not installed" in awake.warning["en"]
        assert set(awake.warning) == set(LANGUAGES)
