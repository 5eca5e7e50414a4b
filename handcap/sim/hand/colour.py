"""What colour skin, nails and sleeve have, vertex by vertex."""

from __future__ import annotations

import numpy as np

from handcap.geometry import Array
from handcap.sim.hand.skeleton import FINGERS, bone

# From the lightest to the darkest, as a camera sees them in good light; spread over the ten tones of E. Monk's scale.
TONES = np.array(
    [
        [222, 184, 162],
        [210, 167, 141],
        [194, 147, 117],
        [172, 123, 93],
        [145, 99, 73],
        [115, 78, 56],
        [97, 67, 51],
        [80, 57, 46],
    ],
    float,
)
_PALM_OF_LIGHT = np.array([220.0, 166.0, 144.0])  # palms have little pigment
_PALM_OF_DARK = np.array([176.0, 126.0, 100.0])
_BLOOD = np.array([1.05, 0.90, 0.88])  # skin over knuckles and at finger tips
_NAIL = np.array([226.0, 178.0, 164.0])
# The tones are what a camera sees, gloss included; gloss has no colour of its own and greys what lies under it, so skin
# is this much more colourful than it looks.
_UNDER_GLOSS = 1.4
_SLEEVES = np.array([[52, 62, 92], [120, 122, 126], [38, 38, 42], [150, 60, 56], [86, 104, 78], [196, 190, 178]], float)

# Lines of the palm, shares of the hand's length in x and y: heart, head, life.
_PALM_LINES = (
    np.array([[0.36, -0.235], [0.375, -0.16], [0.385, -0.08], [0.41, 0.0], [0.45, 0.05]]),
    np.array([[0.25, -0.19], [0.30, -0.11], [0.335, -0.02], [0.36, 0.06], [0.375, 0.13]]),
    np.array([[0.375, 0.13], [0.34, 0.065], [0.26, 0.025], [0.17, 0.01], [0.09, 0.02]]),
)


def albedo(
    vertices: Array,
    normals: Array,
    T_wrist_bone: Array,
    joints: Array,
    share: Array,
    length_m: float,
    tone: int,
    sleeve_from: float,
    rng: np.random.Generator,
) -> Array:
    """(v, 3) RGB, 0..255.

    Args:
        vertices, normals: (v, 3) at rest, wrist frame.
        T_wrist_bone, joints: of the posture at rest.
        share: (v, 17) of each bone, see `skinning.weights`.
        length_m: of the hand.
        tone: index into `TONES`.
        sleeve_from: see `Flesh`.
        rng: decides on blotches and cloth.
    """
    skin = TONES[tone]
    dark = tone / (len(TONES) - 1)
    palm = (1 - dark) * _PALM_OF_LIGHT + dark * _PALM_OF_DARK
    palm = 0.35 * skin + 0.65 * palm
    up = _dorsal(normals, T_wrist_bone, share)
    paler = _step(-up, 0.05, 0.65) * _step(vertices[:, 0], -0.10 * length_m, 0.03 * length_m)
    colour = skin + paler[:, None] * (palm - skin)
    blush, crease, nail = _finger_marks(vertices, up, T_wrist_bone, joints, share, length_m)
    lines = np.exp(-((_line_distance(vertices[:, :2] / length_m) / 0.0085) ** 2)) * _step(-up, 0.4, 0.8)
    lines *= _step(-vertices[:, 2], 0.02 * length_m, 0.05 * length_m) * (
        1 - share[:, [bone(0, 1), bone(0, 2)]].sum(axis=1)
    )
    colour *= 1 + blush[:, None] * (_BLOOD - 1)
    colour *= 1 - 0.18 * crease[:, None] * np.array([0.8, 1.0, 1.05])
    colour *= 1 - 0.14 * np.clip(lines, 0, 1)[:, None] * np.array([0.7, 1.0, 1.05])
    nail_colour = 0.75 * _NAIL + 0.25 * skin
    colour += nail[:, None] * (nail_colour - colour)
    colour *= 1 + 0.022 * _blotches(vertices / length_m, rng)[:, None] * np.array([0.7, 1.1, 1.1])
    grey = colour.mean(axis=1, keepdims=True)
    colour = grey + _UNDER_GLOSS * (colour - grey)
    if sleeve_from < 0.9:
        cloth = _SLEEVES[rng.integers(len(_SLEEVES))] * (1 + 0.05 * _blotches(3 * vertices / length_m, rng)[:, None])
        covered = vertices[:, 0] < -(sleeve_from + 0.012) * length_m
        colour[covered] = cloth[covered]
    return np.clip(colour, 0, 255)


def _step(x: Array, low: float, high: float) -> Array:
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _dorsal(normals: Array, T_wrist_bone: Array, share: Array) -> Array:
    """(v,) 1 where skin looks to the back of its bone, -1 to the palm."""
    back = share @ T_wrist_bone[:, :3, 2]
    return np.einsum("ij,ij->i", normals, back / np.linalg.norm(back, axis=-1, keepdims=True))


def _finger_marks(
    vertices: Array, up: Array, T_wrist_bone: Array, joints: Array, share: Array, length_m: float
) -> tuple[Array, Array, Array]:
    """(v,) each: how much blood shows, how deep a crease is, how much is nail."""
    blush, crease, nail = (np.zeros(len(vertices)) for _ in range(3))
    above, below = _step(up, 0.1, 0.7), _step(-up, -0.1, 0.5)
    for f in range(len(FINGERS)):
        mine = share[:, [bone(f, k) for k in range(3)]].sum(axis=1)
        chain = joints[1 + 4 * f : 5 + 4 * f]
        for k in range(3):
            local = (vertices - chain[k]) @ T_wrist_bone[bone(f, k), :3, :3] / length_m
            x = local[:, 0]
            at_joint = mine * (np.abs(local[:, 1]) < 0.08)
            if k or f:
                blush += 0.8 * above * at_joint * np.exp(-((x / 0.035) ** 2))
            if k:
                for shift, depth in ((0.0, 1.0), (0.022, 0.55), (-0.022, 0.6)):
                    crease += depth * 0.75 * above * at_joint * np.exp(-(((x - shift) / 0.0075) ** 2))
                crease += 1.0 * below * at_joint * np.exp(-(((x + 0.006) / 0.008) ** 2))
            elif f:
                crease += 1.0 * below * at_joint * np.exp(-(((x - 0.105) / 0.008) ** 2))
        R = T_wrist_bone[bone(f, 2), :3, :3]
        size = float(np.linalg.norm(chain[3] - chain[2])) / length_m
        local = (vertices - chain[2]) @ R / length_m
        half = 0.034 if f == 0 else 0.026
        round_ = ((local[:, 0] - 0.80 * size) / (0.38 * size)) ** 4 + (local[:, 1] / half) ** 4
        on_nail = share[:, bone(f, 2)] * _step(up, 0.35, 0.6)
        nail = np.maximum(nail, on_nail * _step(-round_, -1.3, -0.7))
        crease += 0.5 * on_nail * np.exp(-(((round_ - 1.35) / 0.35) ** 2))
        blush += mine * _step(local[:, 0], 0.4 * size, 1.1 * size)
    return np.clip(blush, 0, 1), np.clip(crease, 0, 1), nail


def _line_distance(points: Array) -> Array:
    """(n,) from points (n, 2) to the nearest line of the palm, shares of the hand's length."""
    nearest = np.full(len(points), np.inf)
    for line in _PALM_LINES:
        for a, b in zip(line[:-1], line[1:], strict=True):
            t = np.clip((points - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
            nearest = np.minimum(nearest, np.linalg.norm(points - a - t[:, None] * (b - a), axis=-1))
    return nearest


def _blotches(points: Array, rng: np.random.Generator) -> Array:
    """(n,) smooth noise of about unit variance: waves in all directions."""
    total = np.zeros(len(points))
    count = 24
    for wave in range(count):
        direction = rng.standard_normal(3)
        length = 0.05 * 4 ** (wave / count)
        total += np.sin(points @ direction / np.linalg.norm(direction) * 2 * np.pi / length + rng.uniform(0, 2 * np.pi))
    return total / np.sqrt(count / 2)
