"""The bracket that carries the board on a gripper or a headband, as a printable STL made from sizes.

    python firmware/hardware/bracket.py board bracket.stl [--plate-mm 74 34] [--standoff-height-mm 5] ...
    python firmware/hardware/bracket.py encoder encoder.stl [--hole-spacing-mm 17] ...

A part is a stack of layers, each a flat outline with holes. All outlines are triangulated together, once, so that every
layer is made of the same triangles and the surface closes without gaps. Millimetres; z is up from the print bed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from scipy.spatial import Delaunay
from scipy.spatial.distance import cdist

CORNERS = 32  # of a circle; a pilot hole's flats are then 0.01 mm deep
WALL_MM = 1.0  # two lines of a 0.4 mm nozzle, and a little
SPLITS = 12  # of an outline's edges, until the triangulation follows them


class BracketError(ValueError):
    """Sizes that make no printable part, and which to change."""


@dataclass(frozen=True, eq=False, slots=True)
class Outline:
    """A closed curve in the plane, and what lies within it.

    Attributes:
        name: for people.
        points_mm: (n, 2), counter-clockwise, far apart where it is straight.
    """

    name: str
    points_mm: np.ndarray

    def contains(self, at_mm: np.ndarray) -> np.ndarray:
        """(m,) bool for (m, 2) points: how often a ray to the right crosses the curve."""
        a, b = self.points_mm, np.roll(self.points_mm, -1, axis=0)
        x, y = at_mm[:, :1], at_mm[:, 1:]
        spans = (a[:, 1] > y) != (b[:, 1] > y)
        with np.errstate(divide="ignore", invalid="ignore"):
            crossing_x = a[:, 0] + (y - a[:, 1]) * (b[:, 0] - a[:, 0]) / (b[:, 1] - a[:, 1])
        return np.count_nonzero(spans & (x < crossing_x), axis=1) % 2 == 1

    def dense(self, step_mm: float = 0.25) -> np.ndarray:
        """(m, 2) points along it, no further apart than `step_mm`."""
        ends = np.roll(self.points_mm, -1, axis=0)
        counts = np.maximum(1, np.ceil(np.linalg.norm(ends - self.points_mm, axis=1) / step_mm)).astype(int)
        pieces = [np.linspace(a, b, n, endpoint=False) for a, b, n in zip(self.points_mm, ends, counts, strict=True)]
        return np.concatenate(pieces)


def circle(name: str, centre_mm: Sequence[float], diameter_mm: float) -> Outline:
    return stadium(name, centre_mm, diameter_mm, 0.0)


def stadium(name: str, centre_mm: Sequence[float], diameter_mm: float, length_mm: float) -> Outline:
    """A hole for a screw that may be anywhere along `length_mm` of x; a circle where that is 0."""
    return rounded_rectangle(name, centre_mm, (diameter_mm + length_mm, diameter_mm), diameter_mm / 2)


def rounded_rectangle(
    name: str, centre_mm: Sequence[float], size_mm: Sequence[float], corner_radius_mm: float
) -> Outline:
    inner = np.maximum(np.asarray(size_mm) / 2 - corner_radius_mm, 0.0)
    angles = np.linspace(0, np.pi / 2, CORNERS // 4 + 1)
    quarters = []
    for turn, sign in enumerate(((1, 1), (-1, 1), (-1, -1), (1, -1))):
        arc = np.stack([np.cos(angles + turn * np.pi / 2), np.sin(angles + turn * np.pi / 2)], axis=1)
        quarters.append(np.asarray(centre_mm) + inner * sign + corner_radius_mm * arc)
    points = np.concatenate(quarters)
    apart = np.linalg.norm(points - np.roll(points, 1, axis=0), axis=1) > 1e-9
    return Outline(name, points[apart])


@dataclass(frozen=True, eq=False, slots=True)
class Layer:
    """What is solid between two heights: within any of `solid`, and in none of `holes`."""

    top_mm: float
    solid: tuple[Outline, ...]
    holes: tuple[Outline, ...]

    def contains(self, at_mm: np.ndarray) -> np.ndarray:
        inside = np.any([outline.contains(at_mm) for outline in self.solid], axis=0)
        return inside & ~np.any([hole.contains(at_mm) for hole in self.holes], axis=0)


@dataclass(frozen=True, eq=False, slots=True)
class Mesh:
    """A closed surface.

    Attributes:
        vertices_mm: (n, 3) float64.
        triangles: (m, 3) int64, counter-clockwise seen from outside.
    """

    vertices_mm: np.ndarray
    triangles: np.ndarray

    @property
    def volume_mm3(self) -> float:
        a, b, c = (self.vertices_mm[self.triangles[:, i]] for i in range(3))
        return float(np.sum(a * np.cross(b, c)) / 6)


def extrude(layers: Sequence[Layer]) -> Mesh:
    """The surface of a stack of layers that begins at z = 0. Raises BracketError where outlines come too near."""
    unique = {id(outline): outline for layer in layers for outline in (*layer.solid, *layer.holes)}
    outlines = list(unique.values())
    require_walls(outlines)
    points, triangles = triangulate(outlines)
    centres = points[triangles].mean(axis=1)
    filled = np.array([layer.contains(centres) for layer in layers])
    heights = np.array([0.0, *(layer.top_mm for layer in layers)])
    vertices = np.concatenate([np.column_stack([points, np.full(len(points), z)]) for z in heights])
    faces: list[np.ndarray] = []
    nothing = np.zeros(len(triangles), dtype=bool)
    for level in range(len(heights)):
        below = filled[level - 1] if level > 0 else nothing
        above = filled[level] if level < len(layers) else nothing
        at_level = triangles + level * len(points)
        faces += [at_level[below & ~above], at_level[above & ~below][:, ::-1]]
    for level, inside in enumerate(filled):
        a, b = boundary(triangles[inside]).T + level * len(points)
        a_top, b_top = a + len(points), b + len(points)
        faces += [np.stack([a, b, b_top], axis=1), np.stack([a, b_top, a_top], axis=1)]
    return without_unused(vertices, np.concatenate(faces))


def require_walls(outlines: Sequence[Outline]) -> None:
    for number, one in enumerate(outlines):
        for other in outlines[number + 1 :]:
            apart = float(cdist(one.dense(), other.dense()).min())
            if apart < WALL_MM:
                raise BracketError(
                    f"{one.name} and {other.name} are {apart:.1f} mm apart, and a wall needs {WALL_MM:g} mm: "
                    "move or shrink one of them, or make the plate larger"
                )


def triangulate(outlines: Sequence[Outline]) -> tuple[np.ndarray, np.ndarray]:
    """Triangles that no outline crosses: its edges are halved until all of them are edges of the triangulation."""
    loops = [outline.points_mm for outline in outlines]
    for _ in range(SPLITS):
        points = np.concatenate(loops)
        triangles = Delaunay(points).simplices.astype(np.int64)
        a, b, c = (points[triangles[:, i]] for i in range(3))
        doubled_area = np.cross(np.column_stack([b - a, np.zeros(len(a))]), np.column_stack([c - a, np.zeros(len(a))]))
        clockwise = doubled_area[:, 2] < 0
        triangles[clockwise] = triangles[clockwise][:, ::-1]
        edges = {frozenset(pair) for i in range(3) for pair in triangles[:, [i, (i + 1) % 3]].tolist()}
        split, start = [], 0
        for loop in loops:
            number = np.arange(len(loop))
            after = np.roll(number, -1)
            ends = zip(start + number, start + after, strict=True)
            missing = np.array([frozenset((int(one), int(other))) not in edges for one, other in ends])
            middles = (loop + loop[after]) / 2
            split.append(np.insert(loop, number[missing] + 1, middles[missing], axis=0))
            start += len(loop)
        if all(len(new) == len(old) for new, old in zip(split, loops, strict=True)):
            return points, triangles
        loops = split
    raise BracketError("these outlines cannot be triangulated: give sizes that are less extreme")


def boundary(triangles: np.ndarray) -> np.ndarray:
    """(n, 2) edges that only one of these triangles has, in its direction."""
    edges = np.concatenate([triangles[:, [i, (i + 1) % 3]] for i in range(3)])
    here = {(int(a), int(b)) for a, b in edges}
    return np.array([(a, b) for a, b in edges.tolist() if (b, a) not in here], dtype=np.int64).reshape(-1, 2)


def without_unused(vertices: np.ndarray, triangles: np.ndarray) -> Mesh:
    used, renumbered = np.unique(triangles, return_inverse=True)
    return Mesh(vertices[used], renumbered.reshape(-1, 3))


def four(centre_mm: Sequence[float], spacing_mm: Sequence[float]) -> list[tuple[float, float]]:
    """The corners of a rectangle."""
    x, y = centre_mm
    half_x, half_y = spacing_mm[0] / 2, spacing_mm[1] / 2
    return [(x + sx * half_x, y + sy * half_y) for sx in (-1, 1) for sy in (-1, 1)]


@dataclass(frozen=True, slots=True)
class BoardBracket:
    """A plate with standoffs for the RP2040 board, and a pad for the inertial sensor's own board beside it.

    Attributes:
        plate_mm: length and width.
        plate_thickness_mm: and it is screwed down, so no thinner than 2 mm.
        board_holes_mm: between the board's screw holes; a Raspberry Pi Pico has 47 by 11.4 (its datasheet).
        board_at_mm: the board's centre from the plate's.
        pilot_mm: for screws that cut their own thread: M2 takes 1.7.
        standoff_mm, standoff_height_mm: diameter; and room for solder joints below the board.
        imu_at_mm: the pad's centre. Rigid and near the screws: what bends there is measured as motion.
        imu_pad_mm: the pad, as high as the standoffs.
        imu_hole_spacing_mm: between its two screws, along y; 0 where the sensor is glued on.
        screw_mm, slot_mm: the holes for the gripper's screws (M3 takes 3.4), and how far they may be out along x.
        screw_spacing_mm: between the screws along x and y.
        corner_mm: radius of the plate's corners.
    """

    plate_mm: tuple[float, float] = (90.0, 34.0)
    plate_thickness_mm: float = 3.0
    board_holes_mm: tuple[float, float] = (47.0, 11.4)
    board_at_mm: tuple[float, float] = (-10.0, 0.0)
    pilot_mm: float = 1.7
    standoff_mm: float = 5.0
    standoff_height_mm: float = 5.0
    imu_at_mm: tuple[float, float] = (29.0, 0.0)
    imu_pad_mm: tuple[float, float] = (16.0, 20.0)
    imu_hole_spacing_mm: float = 14.0
    screw_mm: float = 3.4
    slot_mm: float = 4.0
    screw_spacing_mm: tuple[float, float] = (72.0, 26.0)
    corner_mm: float = 4.0

    def mesh(self) -> Mesh:
        require_sizes(self)
        pilots = [circle("a board screw", at, self.pilot_mm) for at in four(self.board_at_mm, self.board_holes_mm)]
        if self.imu_hole_spacing_mm > 0:
            x, y = self.imu_at_mm
            half = self.imu_hole_spacing_mm / 2
            pilots += [circle("a sensor screw", (x, y + sign * half), self.pilot_mm) for sign in (-1, 1)]
        slots = [
            stadium("a slot for the gripper's screws", at, self.screw_mm, self.slot_mm)
            for at in four((0.0, 0.0), self.screw_spacing_mm)
        ]
        plate = rounded_rectangle("the plate's edge", (0.0, 0.0), self.plate_mm, self.corner_mm)
        standoffs = [circle("a standoff", at, self.standoff_mm) for at in four(self.board_at_mm, self.board_holes_mm)]
        pad = rounded_rectangle("the sensor's pad", self.imu_at_mm, self.imu_pad_mm, 1.0)
        raised = (*standoffs, pad)
        require_within(plate, (*slots, *pilots, *raised))
        base = Layer(self.plate_thickness_mm, (plate,), (*slots, *pilots))
        return extrude([base, Layer(self.plate_thickness_mm + self.standoff_height_mm, raised, tuple(pilots))])


@dataclass(frozen=True, slots=True)
class EncoderBracket:
    """A plate that holds the jaw encoder's board over the magnet on the jaw's axle.

    Attributes:
        plate_mm: length and width.
        plate_thickness_mm: of the plate.
        window_mm: diameter of the opening above the chip: the magnet is 0.5 to 3 mm below it (AS5600's datasheet).
        hole_spacing_mm: between the board's four screws; measure yours, these boards differ.
        pilot_mm, standoff_mm, standoff_height_mm: as of the board's bracket.
        screw_mm, slot_mm, screw_spacing_mm: to shift the chip's centre over the axle's, within 0.25 mm of it.
        corner_mm: radius of the plate's corners.
    """

    plate_mm: tuple[float, float] = (46.0, 30.0)
    plate_thickness_mm: float = 3.0
    window_mm: float = 9.0
    hole_spacing_mm: tuple[float, float] = (17.0, 17.0)
    pilot_mm: float = 1.7
    standoff_mm: float = 5.0
    standoff_height_mm: float = 2.0
    screw_mm: float = 3.4
    slot_mm: float = 3.0
    screw_spacing_mm: tuple[float, float] = (34.0, 0.0)
    corner_mm: float = 4.0

    def mesh(self) -> Mesh:
        require_sizes(self)
        corners = four((0.0, 0.0), self.hole_spacing_mm)
        pilots = [circle("a board screw", at, self.pilot_mm) for at in corners]
        standoffs = tuple(circle("a standoff", at, self.standoff_mm) for at in corners)
        places = dict.fromkeys(four((0.0, 0.0), self.screw_spacing_mm))
        slots = [stadium("a slot for the gripper's screws", at, self.screw_mm, self.slot_mm) for at in places]
        window = circle("the window", (0.0, 0.0), self.window_mm)
        plate = rounded_rectangle("the plate's edge", (0.0, 0.0), self.plate_mm, self.corner_mm)
        require_within(plate, (window, *slots, *pilots, *standoffs))
        base = Layer(self.plate_thickness_mm, (plate,), (window, *slots, *pilots))
        return extrude([base, Layer(self.plate_thickness_mm + self.standoff_height_mm, standoffs, tuple(pilots))])


def require_within(plate: Outline, features: Sequence[Outline]) -> None:
    for feature in features:
        if not np.all(plate.contains(feature.points_mm)):
            raise BracketError(f"{feature.name} lies beyond the plate's edge: make the plate larger or move it inwards")


def require_sizes(part: BoardBracket | EncoderBracket) -> None:
    """Raises BracketError for lengths that are none, or leave a standoff without a wall."""
    for one in fields(part):
        values = np.atleast_1d(np.asarray(getattr(part, one.name), dtype=float))
        may_be_negative, may_be_zero = one.name.endswith("_at_mm"), "spacing" in one.name or one.name == "slot_mm"
        wrong = ~np.isfinite(values) | (np.abs(values) > 1000)
        if not may_be_negative:
            wrong |= (values < 0) | ((values == 0) & (not may_be_zero))
        if wrong.any():
            raise BracketError(f"{one.name} = {getattr(part, one.name)}: give millimetres up to 1000")
    if part.standoff_mm < part.pilot_mm + 2 * WALL_MM:
        least = part.pilot_mm + 2 * WALL_MM
        raise BracketError(
            f"standoff_mm = {part.standoff_mm:g} leaves no wall around its screw: make it {least:g} or larger"
        )


TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def write_stl(path: Path, mesh: Mesh) -> None:
    corners = mesh.vertices_mm[mesh.triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    records = np.zeros(len(corners), dtype=TRIANGLE)
    records["normal"] = normals / np.linalg.norm(normals, axis=1, keepdims=True)
    records["corners"] = corners
    header = b"handcap bracket, millimetres".ljust(80)
    path.write_bytes(header + len(records).to_bytes(4, "little") + records.tobytes())


PARTS: dict[str, Callable[..., BoardBracket | EncoderBracket]] = {"board": BoardBracket, "encoder": EncoderBracket}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="A bracket as STL, from sizes in millimetres.")
    parts = parser.add_subparsers(dest="part", required=True)
    for name, make in PARTS.items():
        options = parts.add_parser(name, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        options.add_argument("out", type=Path, help="STL file to write")
        standard = make()
        for one in fields(standard):
            default = getattr(standard, one.name)
            count = {"nargs": 2} if isinstance(default, tuple) else {}
            flag = "--" + one.name.replace("_", "-")
            options.add_argument(flag, type=float, default=default, metavar="MM", help=" ", **count)
    given = vars(parser.parse_args(arguments))
    make, out = PARTS[given.pop("part")], given.pop("out")
    try:
        part = make(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})
        mesh = part.mesh()
        write_stl(out, mesh)
    except (BracketError, OSError) as error:
        print(f"bracket: {error}", file=sys.stderr)
        return 1
    size = np.ptp(mesh.vertices_mm, axis=0)
    print(
        f"{out}: {size[0]:.1f} x {size[1]:.1f} x {size[2]:.1f} mm, {mesh.volume_mm3 / 1000:.1f} cm3, "
        f"{len(mesh.triangles)} triangles"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
