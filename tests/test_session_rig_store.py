"""The rig store: what is in force, whose it is, and what nobody can spoil."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recording import session_meta

from handcap.cli.app import main
from handcap.errors import RigError
from handcap.session import RigStore, create, export_rig, import_rig, read, read_rig, write_rig
from handcap.sim import rigs as virtual
from handcap.types import Rig

NOW = datetime(2026, 3, 10, 8, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def rig(rig_id: str = "R07", serial: int = 7, created: str = "2026-03-01T09:00:00Z", dt_s: float = 0.0) -> Rig:
    drawn = virtual.with_offset(virtual.drawn("head+right", serial), dt_s)
    return replace(drawn, rig_id=rig_id, provenance={"created": created}, valid_until="2026-05-30T09:00:00Z")


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., Any]:
    """put(rig, now) writes it to a file and adds it to the store in tmp_path."""

    def add(one: Rig, now: datetime = NOW, older: bool = False, store: str = "store") -> Any:
        write_rig(tmp_path / "rig.json", one)
        return RigStore(tmp_path / store).add(tmp_path / "rig.json", now, older)

    return add


def test_what_is_in_force_is_what_came_last_and_nothing_is_lost(put: Callable[..., Any], tmp_path: Path) -> None:
    put(rig(dt_s=0.001))
    put(rig(dt_s=0.002, created="2026-03-05T09:00:00Z"), NOW + DAY)
    record = RigStore(tmp_path / "store").record("R07")
    assert [c.rig.cameras["head"].dt_imu_cam_s for c in record.calibrations] == [0.001, 0.002]
    assert record.in_force is not None and record.in_force.path.read_bytes() == (tmp_path / "rig.json").read_bytes()
    assert record.age_days(NOW) == pytest.approx(5 - 1 / 24)
    assert len(put(rig(dt_s=0.002, created="2026-03-05T09:00:00Z"), NOW + 2 * DAY).calibrations) == 2


def test_an_older_calibration_comes_back_only_where_somebody_says_so(put: Callable[..., Any]) -> None:
    put(rig())
    put(rig(dt_s=0.002, created="2026-03-05T09:00:00Z"))
    with pytest.raises(RigError, match="2026-03-05") as told:
        put(rig())
    assert "--older" in (told.value.mend or "")
    record = put(rig(), NOW + DAY, older=True)
    assert record.in_force.rig.cameras["head"].dt_imu_cam_s == 0.0 and len(record.calibrations) == 3


def test_a_rig_is_in_force_drifting_or_expired(put: Callable[..., Any], tmp_path: Path) -> None:
    store = RigStore(tmp_path / "store")
    assert put(rig()).state(NOW) == "in force"
    assert store.record("R07").state(NOW + 90 * DAY) == "expired"
    record = store.verified("R07", "drifting", "head camera turned by 0.2°, 6 sigmas", NOW + DAY)
    assert record.state(NOW + DAY) == "drifting" and "6 sigmas" in record.check_text
    assert store.verified("R07", "recalibrate", "", NOW + 2 * DAY).state(NOW + 2 * DAY) == "expired"
    # A new calibration knows nothing of what was said of the old one.
    assert put(rig(created="2026-03-09T09:00:00Z"), NOW + 3 * DAY).state(NOW + 3 * DAY) == "in force"


def test_a_check_is_kept_for_the_very_calibration_it_was_of(put: Callable[..., Any], tmp_path: Path) -> None:
    store = RigStore(tmp_path / "store")
    put(rig())
    record = store.checked(tmp_path / "rig.json", "drifting", "the head camera's mount", NOW + DAY)
    assert record is not None and record.state(NOW + DAY) == "drifting"
    write_rig(tmp_path / "other.json", rig(dt_s=0.001))
    assert store.checked(tmp_path / "other.json", "recalibrate", "", NOW + DAY) is None
    write_rig(tmp_path / "foreign.json", rig("R08", 8))
    assert store.checked(tmp_path / "foreign.json", "in force", "", NOW + DAY) is None
    assert store.record("R07").state(NOW + DAY) == "drifting" and store.ids() == ["R07"]


def test_a_rig_is_with_whom_it_was_last_given_to(put: Callable[..., Any], tmp_path: Path) -> None:
    store = RigStore(tmp_path / "store")
    assert put(replace(rig(), assigned_to="ann")).assigned_to == "ann"
    assert store.assign("R07", "bo", NOW).assigned_to == "bo"
    assert store.assign("R07", None, NOW - DAY).assigned_to is None  # a clock set back changes no order
    with pytest.raises(RigError, match=r"no rig 'R08' \(rigs: R07\)"):
        store.assign("R08", "bo", NOW)


def test_a_rig_is_found_by_the_devices_plugged_in(put: Callable[..., Any], tmp_path: Path) -> None:
    put(rig("R07", 7))
    put(rig("R08", 8))
    store = RigStore(tmp_path / "store")
    assert store.find(rig("x", 8).uids).rig_id == "R08"
    mixed = {"head": rig("x", 7).uids["head"], "right": rig("x", 8).uids["right"]}
    for uids, says in (
        (mixed, "R07 lacks"),
        ({"head": mixed["head"]}, "lacks virtual-right-00000007"),
        ({**rig("x", 7).uids, "left": "new"}, "knows nothing of new"),
        ({"head": "foreign"}, "head foreign"),
        ({}, "nothing"),
    ):
        with pytest.raises(RigError) as told:
            store.find(uids)
        assert says in told.value.what, told.value.what


def test_a_device_belongs_to_one_rig(put: Callable[..., Any]) -> None:
    put(rig("R07", 7))
    with pytest.raises(RigError, match="virtual-head-00000007 belongs to R07"):
        put(rig("R08", 7))


@pytest.mark.parametrize("rig_id", ["", ".", "..", "../R07", "a/b", "-x", "x" * 65, "R 07", "R07\n"])
def test_no_name_leads_out_of_the_store(put: Callable[..., Any], tmp_path: Path, rig_id: str) -> None:
    with pytest.raises(RigError):
        put(rig(rig_id))
    assert not (tmp_path / "store" / "R07").exists() and [p.name for p in tmp_path.iterdir()] == ["rig.json"]


def test_a_file_changed_by_hand_is_refused(put: Callable[..., Any], tmp_path: Path) -> None:
    path = put(rig()).in_force.path
    path.write_text(path.read_text().replace('"dt_imu_cam_s": 0.0', '"dt_imu_cam_s": 0.5'))
    with pytest.raises(RigError, match="was changed"):
        RigStore(tmp_path / "store").record("R07")
    path.unlink()
    with pytest.raises(RigError, match="is missing"):
        RigStore(tmp_path / "store").record("R07")


def _adds(store: Path, path: Path, number: int) -> None:
    for k in range(5):
        write_rig(path, rig(dt_s=1e-3 * (1 + number) + 1e-5 * k, created=f"2026-03-0{1 + k}T09:00:00Z"))
        RigStore(store).add(path, NOW, older=True)
        RigStore(store).assign("R07", f"w{number}", NOW)


def test_two_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    with ThreadPoolExecutor() as pool:  # each opens the lock anew, as programs do
        for done in [pool.submit(_adds, tmp_path / "store", tmp_path / f"{k}.json", k) for k in range(2)]:
            done.result()
    record = RigStore(tmp_path / "store").record("R07")
    offsets = sorted(round(1e5 * c.rig.cameras["head"].dt_imu_cam_s) for c in record.calibrations)
    assert offsets == [100, 101, 102, 103, 104, 200, 201, 202, 203, 204]
    assert len(list((tmp_path / "store/R07/events").glob("*assigned*"))) == 10


def test_an_add_that_is_cut_off_leaves_the_calibration_before_in_force(
    put: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(rig())
    with monkeypatch.context() as broken:
        broken.setattr(RigStore, "_event", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            put(rig(dt_s=0.002, created="2026-03-05T09:00:00Z"))
    record = RigStore(tmp_path / "store").record("R07")
    assert len(record.calibrations) == 1 and record.in_force is not None
    assert len(put(rig(dt_s=0.002, created="2026-03-05T09:00:00Z")).calibrations) == 2


def carry(tmp_path: Path, source: str, target: str, name: str = "R07.rig") -> Any:
    (tmp_path / name).unlink(missing_ok=True)
    export_rig(RigStore(tmp_path / source), "R07", tmp_path / name)
    return import_rig(RigStore(tmp_path / target), tmp_path / name)


def told(record: Any) -> Any:
    return [c.sha256 for c in record.calibrations], record.assigned_to, record.checked


def test_a_rig_is_the_same_on_another_laptop(put: Callable[..., Any], tmp_path: Path) -> None:
    put(rig())
    put(rig(dt_s=0.002, created="2026-03-05T09:00:00Z"), NOW + DAY)
    RigStore(tmp_path / "store").assign("R07", "ann", NOW + DAY)
    assert told(carry(tmp_path, "store", "other")) == told(RigStore(tmp_path / "store").record("R07"))
    first = (tmp_path / "R07.rig").read_bytes()
    carry(tmp_path, "other", "store")
    assert (tmp_path / "R07.rig").read_bytes() == first


steps = st.lists(
    st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["add", "assign", "verify"]), st.integers(1, 28))
)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_two_laptops_agree_once_each_has_the_other_s_file(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, int]]
) -> None:
    folder = tmp_path_factory.mktemp("stores")
    for name in ("a", "b"):
        write_rig(folder / "rig.json", rig())
        RigStore(folder / name).add(folder / "rig.json", NOW)
    for k, (name, what, day) in enumerate(steps):
        store, now = RigStore(folder / name), NOW + k * timedelta(minutes=1)
        if what == "add":
            write_rig(folder / "rig.json", rig(dt_s=1e-3 * (k + 1), created=f"2026-03-{day:02d}T00:00:00Z"))
            store.add(folder / "rig.json", now, older=True)
        elif what == "assign":
            store.assign("R07", f"p{day}", now)
        else:
            store.verified("R07", "drifting", "", now)
    carry(folder, "a", "b")
    carry(folder, "b", "a")
    a, b = (RigStore(folder / name).record("R07") for name in ("a", "b"))
    assert told(a) == told(b)
    last = next((k for k in reversed(range(len(steps))) if steps[k][1] == "add"), None)
    assert a.in_force is not None
    assert a.in_force.rig.cameras["head"].dt_imu_cam_s == pytest.approx(0.0 if last is None else 1e-3 * (last + 1))


def repack(path: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    with zipfile.ZipFile(path) as packed:
        files = {name: packed.read(name) for name in packed.namelist()}
    change(files)
    with zipfile.ZipFile(path, "w") as packed:
        for name, data in files.items():
            packed.writestr(name, data)


def _spoil(files: dict[str, bytes]) -> None:
    name = next(name for name in files if name.startswith("rigs/"))
    files[name] = files[name].replace(b'"dt_imu_cam_s": 0.0', b'"dt_imu_cam_s": 0.5')


def _manifest(**changed: Any) -> Callable[[dict[str, bytes]], None]:
    def change(files: dict[str, bytes]) -> None:
        files["manifest.json"] = json.dumps({**json.loads(files["manifest.json"]), **changed}).encode()

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_spoil, "was changed"),
        (lambda files: files.pop(next(name for name in files if name.startswith("rigs/"))), "is missing"),
        (lambda files: files.pop("manifest.json"), "not a rig"),
        (lambda files: files.update({"../../evil.json": b"{}"}), "was changed"),
        (lambda files: files.update({"rigs/evil.json": b"{}"}), "was changed"),
        (_manifest(rig_id="../x"), "cannot name"),
        (_manifest(rig_id="R08"), "another rig"),
        (_manifest(version=2), "newer handcap"),
        (_manifest(sha256=[]), "is missing|was changed"),
        (_manifest(sha256=3), "manifest"),
    ],
)
def test_a_rig_s_file_that_was_tampered_with_is_refused_whole(
    put: Callable[..., Any], tmp_path: Path, change: Callable[[dict[str, bytes]], None], says: str
) -> None:
    put(rig())
    path = export_rig(RigStore(tmp_path / "store"), "R07", tmp_path / "R07.rig")
    repack(path, change)
    with pytest.raises(RigError, match=says):
        import_rig(RigStore(tmp_path / "other"), path)
    assert RigStore(tmp_path / "other").ids() == [] and not (tmp_path / "evil.json").exists()


@pytest.mark.parametrize("data", [b"", b"PK", b"{}", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_rig_s_file_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(RigError, match="not a rig"):
        import_rig(RigStore(tmp_path / "store"), tmp_path / "x")
    with pytest.raises(RigError):
        import_rig(RigStore(tmp_path / "store"), tmp_path / "none")


def test_a_calibration_of_another_serial_is_refused_naming_both(tmp_path: Path) -> None:
    own = new_session(tmp_path / "s")
    write_rig(tmp_path / "other.json", rig(serial=8))
    with pytest.raises(RigError) as told:
        read(tmp_path / "s", tmp_path / "other.json")
    assert "virtual-head-00000007" in told.value.what and "virtual-head-00000008" in told.value.what
    # What no one knows contradicts nothing.
    blank = replace(own, devices={name: replace(device, uid=None) for name, device in own.devices.items()})
    write_rig(tmp_path / "blank.json", blank)
    assert read(tmp_path / "s", tmp_path / "blank.json").rig.uids == {}


def new_session(path: Path) -> Rig:
    own = rig(serial=7)
    create(path, session_meta().model_copy(update={"device_uids": own.uids}), own)
    return own


def test_reconstruct_refuses_the_rig_of_another_specimen(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    own = new_session(tmp_path / "s")
    write_rig(tmp_path / "other.json", rig(serial=99))
    code, told = handcap(capfd, "reconstruct", tmp_path / "s", "--rig", tmp_path / "other.json", "--json")
    assert code == 1 and str(own.uids["head"]) in told["error"]["what"] and "00000099" in told["error"]["what"]


def handcap(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any]]:
    with pytest.raises(SystemExit) as left:
        main([*map(str, arguments)])
    return int(left.value.code or 0), json.loads(capfd.readouterr().out)


def test_the_commands_add_list_assign_and_carry(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HANDCAP_STORE", str(tmp_path / "store"))
    write_rig(tmp_path / "rig.json", rig())
    assert handcap(capfd, "rigs", "add", tmp_path / "rig.json", "--json")[0] == 0
    assert handcap(capfd, "rigs", "assign", "R07", "ann", "--json")[1]["summary"]["rigs"][0]["assigned_to"] == "ann"
    code, told = handcap(capfd, "rigs", "list", "--json")
    (one,) = told["summary"]["rigs"]
    assert code == 0 and one["rig_id"] == "R07" and one["uids"] == rig().uids and one["calibrations"] == 1
    assert handcap(capfd, "rigs", "export", "R07", tmp_path / "R07.rig", "--json")[0] == 0
    monkeypatch.setenv("HANDCAP_STORE", str(tmp_path / "other"))
    assert handcap(capfd, "rigs", "import", tmp_path / "R07.rig", "--json")[1]["summary"]["rigs"][0]["state"]
    uids = [word for name, uid in rig().uids.items() for word in ("--uid", f"{name}={uid}")]
    assert handcap(capfd, "rigs", "list", *uids, "--json")[1]["summary"]["rigs"][0]["rig_id"] == "R07"
    code, told = handcap(capfd, "rigs", "list", "--uid", "head=foreign", "--json")
    assert code == 1 and "head foreign" in told["error"]["what"]
    assert handcap(capfd, "rigs", "assign", "R07", "--json")[0] == 1


def test_dates_in_a_rig_file_are_dates(tmp_path: Path) -> None:
    write_rig(tmp_path / "rig.json", rig())
    values = json.loads((tmp_path / "rig.json").read_text())
    for text in ("soon", "2026-13-01", ""):
        (tmp_path / "bad.json").write_text(json.dumps(values | {"valid_until": text}))
        with pytest.raises(RigError, match="valid_until"):
            read_rig(tmp_path / "bad.json")
    assert read_rig(tmp_path / "rig.json").valid_until == "2026-05-30T09:00:00Z"
    assert np.isfinite(read_rig(tmp_path / "rig.json").cameras["head"].dt_imu_cam_s)
