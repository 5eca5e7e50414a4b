"""The bracket made from sizes: a closed surface of the volume it should have, or words about which size to change."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

SCRIPT = Path(__file__).resolve().parents[1] / "firmware/hardware/bracket.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bracket", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["bracket"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


bracket = load()
PARTS: list[Callable[..., Any]] = [bracket.BoardBracket, bracket.EncoderBracket]


def assert_closed(mesh: Any) -> None:
    """Every edge is walked once in each direction: no gap, no flap, the outside outside."""
    edges = Counter((int(a), int(b)) for i in range(3) for a, b in mesh.triangles[:, [i, (i + 1) % 3]])
    assert set(edges.values()) == {1}
    assert all((b, a) in edges for a, b in edges)
    assert mesh.volume_mm3 > 0


def polygon_area(diameter: float) -> float:
    """Of the many-cornered circle that stands for a round one."""
    n = bracket.CORNERS
    return n / 2 * (diameter / 2) ** 2 * np.sin(2 * np.pi / n)


@pytest.mark.parametrize("part", PARTS)
def test_a_standard_part_is_closed(part: Callable[..., Any]) -> None:
    assert_closed(part().mesh())


def test_the_volume_is_that_of_the_plate_and_what_stands_on_it() -> None:
    part = bracket.BoardBracket(imu_pad_mm=(16.0, 20.0))
    width, depth = part.plate_mm
    corner = part.corner_mm
    plate = width * depth - (2 * corner) ** 2 + polygon_area(2 * corner)
    slots = 4 * (polygon_area(part.screw_mm) + part.slot_mm * part.screw_mm)
    pilots = 6 * polygon_area(part.pilot_mm)
    pad = 16 * 20 - 4 + polygon_area(2.0)
    raised = 4 * polygon_area(part.standoff_mm) + pad - pilots
    wanted = part.plate_thickness_mm * (plate - slots - pilots) + part.standoff_height_mm * raised
    assert part.mesh().volume_mm3 == pytest.approx(wanted, rel=1e-9)


def test_holes_are_where_and_as_wide_as_they_were_asked_for() -> None:
    part = bracket.BoardBracket(board_holes_mm=(40.0, 12.0), pilot_mm=2.0)
    mesh = part.mesh()
    top = part.plate_thickness_mm + part.standoff_height_mm
    rim = mesh.vertices_mm[np.isclose(mesh.vertices_mm[:, 2], top)][:, :2]
    for x in (-30.0, 10.0):
        for y in (-6.0, 6.0):
            away = np.linalg.norm(rim - (x, y), axis=1)
            np.testing.assert_allclose(away.min(), 1.0, atol=0.01)
            assert np.count_nonzero(np.isclose(away, 1.0, atol=0.01)) >= bracket.CORNERS


sizes = st.fixed_dictionaries(
    {},
    optional={
        "plate_mm": st.tuples(st.floats(20, 150), st.floats(15, 80)),
        "plate_thickness_mm": st.floats(1, 10),
        "board_holes_mm": st.tuples(st.floats(5, 80), st.floats(5, 40)),
        "board_at_mm": st.tuples(st.floats(-30, 30), st.floats(-10, 10)),
        "pilot_mm": st.floats(0.5, 4),
        "standoff_mm": st.floats(2, 12),
        "imu_at_mm": st.tuples(st.floats(-60, 60), st.floats(-20, 20)),
        "imu_hole_spacing_mm": st.floats(0, 30),
        "slot_mm": st.floats(0, 12),
        "corner_mm": st.floats(0.5, 7),
    },
)


@given(sizes)
@settings(max_examples=60)
def test_any_sizes_make_a_closed_part_or_are_refused_in_words(given_sizes: dict[str, Any]) -> None:
    part = bracket.BoardBracket(**given_sizes)
    try:
        mesh = part.mesh()
    except bracket.BracketError:
        with pytest.raises(bracket.BracketError, match=r"larger|less extreme"):
            part.mesh()
    else:
        assert_closed(mesh)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"standoff_mm": 3.0}, "no wall around its screw: make it 3.7 or larger"),
        ({"imu_pad_mm": (16.0, 15.0)}, "a sensor screw and the sensor's pad are .* apart"),
        ({"plate_mm": (60.0, 34.0)}, "beyond the plate's edge"),
        ({"imu_at_mm": (10.0, 0.0)}, "apart, and a wall needs"),
    ],
)
def test_sizes_that_leave_no_wall_are_refused_by_the_names_of_both_sides(change: dict[str, Any], words: str) -> None:
    with pytest.raises(bracket.BracketError, match=words):
        replace(bracket.BoardBracket(), **change).mesh()


@pytest.mark.parametrize("part", ["board", "encoder"])
def test_the_file_holds_the_mesh(part: str, tmp_path: Path) -> None:
    out = tmp_path / "part.stl"
    done = subprocess.run([sys.executable, str(SCRIPT), part, str(out)], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "cm3" in done.stdout, done.stderr
    data = out.read_bytes()
    records = np.frombuffer(data[84:], dtype=bracket.TRIANGLE)
    mesh = bracket.PARTS[part]().mesh()
    assert len(records) == int.from_bytes(data[80:84], "little") == len(mesh.triangles)
    np.testing.assert_array_equal(records["corners"], mesh.vertices_mm[mesh.triangles].astype(np.float32))
    np.testing.assert_allclose(np.linalg.norm(records["normal"], axis=1), 1, atol=1e-6)


def test_every_size_is_an_option_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    out = tmp_path / "part.stl"
    line = [sys.executable, str(SCRIPT), "board", str(out)]
    told = subprocess.run([*line[:3], "--help"], capture_output=True, text=True, check=False).stdout
    assert all("--" + one.name.replace("_", "-") in told for one in fields(bracket.BoardBracket))
    done = subprocess.run([*line, "--plate-thickness-mm", "-1"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "plate_thickness_mm = -1.0" in done.stderr and not out.exists()
    done = subprocess.run([*line, "--screw-mm", "nan"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "screw_mm" in done.stderr
