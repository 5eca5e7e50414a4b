# pyright: basic
"""The compiled inner loops of shading: what colour a ray brings from what it meets."""

from __future__ import annotations

import numpy as np
from numba import njit

_MAX_TAPS = 4  # along the long axis of a footprint; beyond it the picture gets softer, never aliased
_HIGHLIGHT, _SHARPNESS, _SHEEN, _RIM = 0.4, 18, 0.06, 0.28  # gloss of skin: dry, not oily


@njit(cache=True, nogil=True, inline="always", error_model="numpy", fastmath=True)
def _bilinear(texels, first, width, height, x, y):
    """Texture value at (x, y) texels, centres at integers, -0.5 <= x < width - 0.5; wraps around.

    In whole numbers with weights of 1/256, red and blue side by side in one: half the time of floating point, and
    exact to half a grey level.
    """
    x8, y8 = np.int64((x + 1.0) * 256.0), np.int64((y + 1.0) * 256.0)
    x0, y0 = (x8 >> 8) - 1, (y8 >> 8) - 1
    fx, fy = x8 & 255, y8 & 255
    x1 = x0 + 1 if x0 + 1 < width else 0
    y1 = y0 + 1 if y0 + 1 < height else 0
    x0 = x0 if x0 >= 0 else width - 1
    y0 = y0 if y0 >= 0 else height - 1
    row0, row1 = first + y0 * width, first + y1 * width
    a, b, c, d = texels[row0 + x0], texels[row0 + x1], texels[row1 + x0], texels[row1 + x1]
    wd = np.uint32((fx * fy + 128) >> 8)
    wb, wc = np.uint32(fx) - wd, np.uint32(fy) - wd
    wa = np.uint32(256) - wb - wc - wd
    ends = np.uint32(0xFF00FF)
    both = (a & ends) * wa + (b & ends) * wb + (c & ends) * wc + (d & ends) * wd
    middle = np.uint32(8)
    a, b, c, d = a >> middle, b >> middle, c >> middle, d >> middle
    low = np.uint32(255)
    green = (a & low) * wa + (b & low) * wb + (c & low) * wc + (d & low) * wd
    share = np.float32(1 / 256)
    return (
        np.float32(np.uint32(both) & np.uint32(0xFFFF)) * share,
        np.float32(np.uint32(green)) * share,
        np.float32(np.uint32(both) >> np.uint32(16)) * share,
    )


@njit(cache=True, nogil=True, inline="always", error_model="numpy", fastmath=True)
def _light_at(lumels, first, rows, columns, x, y):
    """Light at (x, y) lumels of a patch's grid, which includes its corners; what is beyond them is as they are."""
    x, y = min(max(x, 0.0), columns - 1.0), min(max(y, 0.0), rows - 1.0)
    x0, y0 = min(int(x), columns - 2), min(int(y), rows - 2)
    fx, fy = x - x0, y - y0
    i = first + y0 * columns + x0
    return (1 - fy) * ((1 - fx) * lumels[i] + fx * lumels[i + 1]) + fy * (
        (1 - fx) * lumels[i + columns] + fx * lumels[i + columns + 1]
    )


def patch_table(scene, light):
    """What `shade` must know of every patch of a scene, worked out once and side by side in memory.

    Returns:
        (n, 21) of every patch: normal, axis_a and axis_b, each followed by its product with the origin; texture widths
        and heights per metre, those of the texture's origin, texels per metre; lumels per metre along both axes; bend;
        half the size along axis_a. And (n, 5) int64: texture, first lumel, rows and columns of lumels, body.
    """
    axes = [
        np.column_stack([axis, np.sum(axis * scene.origin, axis=1)])
        for axis in (scene.normal, scene.axis_a, scene.axis_b)
    ]
    atlas, m = scene.atlas, scene.texture
    per_m = 1 / (atlas.texel_m[m, None] * np.column_stack([atlas.width[m, 0], atlas.height[m, 0]]))
    lumels = (light.shape[:, ::-1] - 1) / scene.size
    numbers = [*axes, per_m, scene.uv * per_m, 1 / atlas.texel_m[m], lumels, scene.bend, scene.size[:, 0] / 2]
    whole = [m, light.first, light.shape, scene.body_of]
    return np.column_stack(numbers), np.column_stack(whole).astype(np.int64)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
def shade(
    rays, surface, pixel_rad, patches, numbers, texels, tex_first, tex_width, tex_height, tex_levels, lumels, light, out
):
    """Colour (m, 3) of each ray: texture filtered over the footprint of `pixel_rad`, times light.

    Light is what was baked on the patch times, per body, `light[0] + light[1:] @ normal`. Rays are in the frame of the
    body they meet; what is no patch of the scene is left black. `patches` and `numbers` are those of `patch_table`.
    """
    for i in range(len(rays)):
        out[i, 0] = out[i, 1] = out[i, 2] = 0.0
        k = surface[i]
        if k < 0 or k >= len(patches) or pixel_rad[i] == 0.0:
            continue
        p = patches[k]
        ox, oy, oz = float(rays[i, 0]), float(rays[i, 1]), float(rays[i, 2])
        dx, dy, dz = float(rays[i, 3]), float(rays[i, 4]), float(rays[i, 5])
        cosine = -(dx * p[0] + dy * p[1] + dz * p[2])
        if cosine < 1e-6:  # seen from behind or edge-on
            continue
        stretch = 1.0 / cosine
        depth = (ox * p[0] + oy * p[1] + oz * p[2] - p[3]) * stretch
        along_a, along_b = dx * p[4] + dy * p[5] + dz * p[6], dx * p[8] + dy * p[9] + dz * p[10]
        s = ox * p[4] + oy * p[5] + oz * p[6] - p[7] + depth * along_a
        t = ox * p[8] + oy * p[9] + oz * p[10] - p[11] + depth * along_b

        # The footprint is an ellipse, longer by 1/cosine along the ray's direction in the plane.
        minor = depth * pixel_rad[i]
        taps = max(min(int(np.ceil(stretch - 0.5)), _MAX_TAPS), 1)
        m = numbers[k, 0]
        # The level whose texels are about as large as the footprint; a loop is faster than a logarithm.
        coarse = minor * max(1.0, stretch / taps) * p[16]
        level, last = 0, tex_levels[m] - 1
        while coarse >= 2.0 and level < last:
            coarse *= 0.5
            level += 1
        # Half-way between two levels they are blended; near one, it will do alone: half the work, and still no seam.
        blend = min(max(2.0 * (coarse - 1.15), 0.0), 1.0) if level < last else 0.0
        level_share = (1 - blend, blend)
        # In shares of the picture's edge; the whole part is which repetition it is.
        u, v = s * p[12] + p[14], t * p[13] + p[15]
        step_u = step_v = 0.0
        if taps > 1:
            step = minor * stretch / (taps * max(np.sqrt(along_a * along_a + along_b * along_b), 1e-9))
            step_u, step_v = step * along_a * p[12], step * along_b * p[13]
            u, v = u - step_u * (taps - 1) / 2, v - step_v * (taps - 1) / 2
        r = g = b = np.float32(0.0)
        for tap in range(taps):
            x, y = u + tap * step_u, v + tap * step_v
            x, y = x - np.floor(x), y - np.floor(y)
            for step in range(2):
                weight = np.float32(level_share[step])
                if weight == 0:
                    continue
                n = level + step
                w, h = np.int64(tex_width[m, n]), np.int64(tex_height[m, n])
                r1, g1, b1 = _bilinear(texels, tex_first[m, n], w, h, x * w - 0.5, y * h - 0.5)
                r += weight * r1
                g += weight * g1
                b += weight * b1
        bright = _light_at(lumels, numbers[k, 1], numbers[k, 2], numbers[k, 3], s * p[17], t * p[18]) / taps
        body = numbers[k, 4]
        if body > 0:
            turn = p[19] * (s - p[20])
            nx, ny, nz = p[0] + turn * p[4], p[1] + turn * p[5], p[2] + turn * p[6]
            length = np.sqrt(1 + turn * turn)
            bright *= max(
                light[body, 0] + (light[body, 1] * nx + light[body, 2] * ny + light[body, 3] * nz) / length, 0.12
            )
        out[i, 0], out[i, 1], out[i, 2] = r * bright, g * bright, b * bright


@njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
def shade_skin(rays, triangle, corner_share, triangles, normals, albedo, occlusion, light, out):
    """Colour (m, 3) where rays meet a mesh: colours and normals of the corners, blended, and the gloss of skin.

    The gloss is Blinn's highlight towards the light and a mirror of the surrounding light, stronger at grazing angles
    (Schlick 1994); skin reflects 2.8 % head-on, which a camera's gamma lifts.

    Args:
        rays: (m, 6) mesh frame.
        triangle: (m,) which is met.
        corner_share: (m, 2) barycentric weights of its second and third corner.
        triangles, normals, albedo, occlusion: of the mesh.
        light: (4,) around the mesh, see `light_at`, mesh frame.
        out: changed in place.
    """
    strength = np.sqrt(light[1] * light[1] + light[2] * light[2] + light[3] * light[3])
    scale = max(strength, 1e-9)
    lx, ly, lz = light[1] / scale, light[2] / scale, light[3] / scale
    for i in range(len(triangle)):
        a, b, c = triangles[triangle[i], 0], triangles[triangle[i], 1], triangles[triangle[i], 2]
        wb, wc = corner_share[i, 0], corner_share[i, 1]
        wa = 1 - wb - wc
        nx = wa * normals[a, 0] + wb * normals[b, 0] + wc * normals[c, 0]
        ny = wa * normals[a, 1] + wb * normals[b, 1] + wc * normals[c, 1]
        nz = wa * normals[a, 2] + wb * normals[b, 2] + wc * normals[c, 2]
        length = max(np.sqrt(nx * nx + ny * ny + nz * nz), 1e-9)
        nx, ny, nz = nx / length, ny / length, nz / length
        open_share = wa * occlusion[a] + wb * occlusion[b] + wc * occlusion[c]
        bright = open_share * max(light[0] + light[1] * nx + light[2] * ny + light[3] * nz, 0.12)

        dx, dy, dz = rays[i, 3], rays[i, 4], rays[i, 5]
        length = max(np.sqrt(dx * dx + dy * dy + dz * dz), 1e-9)
        dx, dy, dz = dx / length, dy / length, dz / length
        cosine = max(-(dx * nx + dy * ny + dz * nz), 0.0)
        hx, hy, hz = lx - dx, ly - dy, lz - dz
        length = max(np.sqrt(hx * hx + hy * hy + hz * hz), 1e-9)
        half = max((hx * nx + hy * ny + hz * nz) / length, 0.0)
        mx, my, mz = dx + 2 * cosine * nx, dy + 2 * cosine * ny, dz + 2 * cosine * nz
        mirrored = max(light[0] + light[1] * mx + light[2] * my + light[3] * mz, 0.1)
        gloss = _HIGHLIGHT * strength * half**_SHARPNESS + (_SHEEN + _RIM * (1 - cosine) ** 4) * mirrored
        gloss *= 255 * open_share
        for k in range(3):
            out[i, k] = bright * (wa * albedo[a, k] + wb * albedo[b, k] + wc * albedo[c, k]) + gloss
