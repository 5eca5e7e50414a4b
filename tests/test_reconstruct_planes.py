"""Level surfaces and the workspace: made-up rooms with a known answer."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from handcap import session
from handcap.geometry import se3_exp
from handcap.reconstruct.map_file import write_map_ply, write_planes_ply
from handcap.reconstruct.planes import find_planes
from handcap.reconstruct.workspace import find_workspace
from handcap.sim.scenes.kitchen import TABLE_TOP_M

DERIVED = Path("derived/0001/reconstruct")
HEAD = np.tile([0.0, 0.0, 1.6], (20, 1))
TABLE_M, FLOOR_M = 0.74, 0.0


def level(
    rng: np.random.Generator, n: int, low: list[float], high: list[float], height_m: float, noise_m: float = 0.003
) -> np.ndarray:
    xy = rng.uniform(low, high, (n, 2))
    return np.c_[xy, rng.normal(height_m, noise_m, n)]


def table(rng: np.random.Generator) -> np.ndarray:
    return level(rng, 120, [0.4, -0.6], [1.0, 0.6], TABLE_M)


def wall(rng: np.random.Generator) -> np.ndarray:
    return np.c_[rng.normal(1.5, 0.005, 400), rng.uniform([-2, 0], [2, 2.2], (400, 2))]


def room(seed: int = 0) -> np.ndarray:
    """(m, 3): a table with things on it, a floor, a wall, and points anywhere."""
    rng = np.random.default_rng(seed)
    floor = level(rng, 90, [-0.5, -1.5], [1.4, 1.5], FLOOR_M)
    clutter = rng.uniform([0.5, -0.5, TABLE_M + 0.02], [0.9, 0.5, TABLE_M + 0.3], (50, 3))
    outliers = rng.uniform([-2, -2, 0.02], [2, 2, 2.5], (60, 3))
    return np.concatenate([table(rng), floor, wall(rng), clutter, outliers])


@pytest.mark.parametrize("seed", range(8))
def test_table_and_floor_are_found_at_their_height(seed: int) -> None:
    planes = find_planes(room(seed), HEAD)
    assert [plane.kind for plane in planes] == ["floor", "surface"]
    for plane, height_m, area_m2 in zip(planes, (FLOOR_M, TABLE_M), (5.7, 0.72), strict=True):
        assert abs(plane.centre[2] - height_m) < 0.002
        assert plane.sigma_m < 0.001 and plane.tilt_rad < 0.01
        # The hull of few points is smaller than what they lie on.
        assert 0.65 * area_m2 < plane.area_m2 < 1.05 * area_m2


def test_a_wall_alone_gives_nothing():
    assert find_planes(wall(np.random.default_rng(0)), HEAD) == ()


def test_too_few_points_give_nothing():
    assert find_planes(table(np.random.default_rng(0))[:20], HEAD) == ()
    assert find_planes(np.empty((0, 3)), HEAD) == ()


@pytest.mark.parametrize("tilt_deg", [5, 8, 20, 45])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_slope_is_no_table(tilt_deg: float, axis: int) -> None:
    flat = table(np.random.default_rng(0))
    pivot, turn = flat.mean(axis=0), np.zeros(6)
    turn[axis] = np.deg2rad(tilt_deg)
    sloping = (flat - pivot) @ se3_exp(turn)[:3, :3].T + pivot
    assert find_planes(flat, HEAD) and not find_planes(sloping, HEAD)


@pytest.mark.parametrize("seed", range(4))
def test_low_things_on_a_table_are_no_second_table(seed: int) -> None:
    rng = np.random.default_rng(seed)
    boards = level(rng, 60, [0.5, -0.4], [0.9, 0.4], TABLE_M + 0.035)
    (found,) = find_planes(np.concatenate([table(rng), boards]), HEAD)
    assert abs(found.centre[2] - TABLE_M) < 0.003


def test_a_counter_above_a_table_is_another_surface():
    rng = np.random.default_rng(0)
    counter = level(rng, 80, [0.4, 0.8], [1.0, 1.8], TABLE_M + 0.15)
    planes = find_planes(np.concatenate([table(rng), counter]), HEAD)
    assert [plane.kind for plane in planes] == ["surface", "surface"]
    np.testing.assert_allclose([plane.centre[2] for plane in planes], [TABLE_M, TABLE_M + 0.15], atol=0.002)


def test_an_uncertain_scale_makes_heights_uncertain():
    (sure,), (unsure,) = (find_planes(table(np.random.default_rng(0)), HEAD, scale_sigma=s) for s in (0.0, 0.01))
    np.testing.assert_array_equal(sure.centre, unsure.centre)
    assert unsure.sigma_m == pytest.approx(np.hypot(sure.sigma_m, 0.01 * (HEAD[0, 2] - TABLE_M)), rel=0.02)


def test_the_order_of_the_points_changes_nothing(tmp_path: Path):
    points = room()
    files = []
    for k, cloud in enumerate((points, np.random.default_rng(1).permutation(points))):
        write_planes_ply(tmp_path / f"{k}.ply", find_planes(cloud, HEAD))
        files.append((tmp_path / f"{k}.ply").read_bytes())
    assert files[0] == files[1]


def test_writing_twice_gives_the_same_bytes(tmp_path: Path):
    for name in ("a", "b"):
        write_map_ply(tmp_path / f"{name}_map.ply", room())
        write_planes_ply(tmp_path / f"{name}_planes.ply", find_planes(room(), HEAD))
    for kind in ("map", "planes"):
        assert (tmp_path / f"a_{kind}.ply").read_bytes() == (tmp_path / f"b_{kind}.ply").read_bytes()


def test_points_are_written_as_they_are(tmp_path: Path):
    import open3d as o3d

    points = room()
    write_map_ply(tmp_path / "map.ply", points)
    read = o3d.io.read_point_cloud(tmp_path / "map.ply")
    np.testing.assert_array_equal(np.asarray(read.points), points)


def looking(at: np.ndarray) -> np.ndarray:
    """(20, 4, 4) a camera at the head's place, looking at a point."""
    z = (at - HEAD[0]) / np.linalg.norm(at - HEAD[0])
    x = np.cross(z, [0, 0, 1.0])
    x /= np.linalg.norm(x)
    T = np.tile(np.eye(4), (20, 1, 1))
    T[:, :3, :3], T[:, :3, 3] = np.stack([x, np.cross(z, x), z], axis=1), HEAD
    return T


@pytest.mark.parametrize("by", ["tools", "gaze"])
def test_the_workspace_lies_on_the_table_where_the_work_is(by: str) -> None:
    planes = find_planes(room(), HEAD)
    work = np.array([0.7, 0.1, TABLE_M])
    tools = work + np.random.default_rng(0).normal(0, 0.02, (200, 3)) + [0, 0, 0.1]
    found = find_workspace(planes, looking(work), tools if by == "tools" else np.empty((0, 3)))
    assert found is not None and planes[found.plane].kind == "surface" and found.by == by
    T = found.T_world_workspace
    np.testing.assert_allclose(T[:3, :3].T @ T[:3, :3], np.eye(3), atol=1e-12)
    np.testing.assert_allclose(T[:3, 3], work, atol=0.01)
    assert T[2, 2] > 0.999 and T[:2, 0] @ work[:2] > 0.99 * np.linalg.norm(work[:2])


def test_work_away_from_every_table_has_no_workspace():
    planes = find_planes(room(), HEAD)
    at = np.array([-1.5, 0.0, 0.9])
    assert find_workspace(planes, looking(at), np.tile(at, (50, 1))) is None
    assert find_workspace((), looking(at), np.tile(at, (50, 1))) is None


def test_who_looks_straight_down_has_forward_where_the_picture_has_its_top():
    planes = find_planes(room(), HEAD)
    T = np.tile(np.eye(4), (20, 1, 1))
    T[:, :3, :3] = np.array([[0, -1, 0], [-1, 0, 0], [0, 0, -1.0]])  # the picture's top points along x
    T[:, :3, 3] = [0.7, 0.0, 1.6]
    found = find_workspace(planes, T, np.empty((0, 3)))
    assert found is not None
    np.testing.assert_allclose(found.T_world_workspace[:2, 0], [1, 0], atol=0.02)


def test_a_virtual_kitchen_has_its_table_where_it_stands(demo: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    take = demo[0] / "session"
    report = session.read_report(take / DERIVED)
    truth, found = (session.read_trajectory(take / f / "head.parquet") for f in (Path("truth"), DERIVED))
    n = min(len(truth), len(found))
    # Both worlds have z up; what is above what is all there is to compare.
    raise_m = np.nanmean(truth.T_world_body[:n, 2, 3] - found.T_world_body[:n, 2, 3])
    sponge = session.read_trajectory(take / "truth/objects/sponge.parquet").T_world_body[0]
    table_m = sponge[2, 3] - 0.001  # things stand a millimetre above the table's mat
    plane = report["planes"][report["workspace"]["plane"]]
    off_m = plane["height_m"] + raise_m - table_m
    print(f"virtual kitchen: table {1e3 * off_m:+.1f} mm off, sigma {1e3 * plane['sigma_m']:.1f} mm")
    assert plane["kind"] == "surface" and abs(off_m) < min(0.01, 3 * plane["sigma_m"])
    T = np.array(report["workspace"]["T_world_workspace"])
    assert T[2, 2] > np.cos(0.02) and abs(T[2, 3] + raise_m - table_m) < 0.01
    for plane in report["planes"]:
        if plane["kind"] == "floor":
            assert plane["height_m"] + raise_m == pytest.approx(table_m - TABLE_TOP_M, abs=0.03)
    assert (take / DERIVED / "map.ply").exists() and (take / DERIVED / "planes.ply").exists()
