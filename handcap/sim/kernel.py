"""The compiled inner loops of the renderer."""

from __future__ import annotations

import numpy as np
from numba import njit

_MAX_TAPS = 4  # along the long axis of a footprint; beyond it the picture gets softer, never aliased


@njit(cache=True, nogil=True)
def place_rays(ray_cam, R_room_cam, centre_room):
    """(m, 3) rays to (m, 6) float32: origin, direction, room frame."""
    out = np.empty((len(ray_cam), 6), np.float32)
    for i in range(len(ray_cam)):
        x, y, z = ray_cam[i, 0], ray_cam[i, 1], ray_cam[i, 2]
        for k in range(3):
            out[i, k] = centre_room[k]
            out[i, 3 + k] = R_room_cam[k, 0] * x + R_room_cam[k, 1] * y + R_room_cam[k, 2] * z
    return out


@njit(cache=True, nogil=True)
def on_edge(surface, group, height, width):
    """(h·w,) bool: pixels that differ in smooth group from the neighbour right, left, below or above."""
    edge = np.zeros(height * width, np.bool_)
    for v in range(height):
        for u in range(width):
            i = v * width + u
            mine = group[surface[i]]
            if u + 1 < width and group[surface[i + 1]] != mine:
                edge[i] = edge[i + 1] = True
            if v + 1 < height and group[surface[i + width]] != mine:
                edge[i] = edge[i + width] = True
    return edge


@njit(cache=True, nogil=True, inline="always")
def _bilinear(texels, first, width, height, x, y):
    """Texture value at (x, y) texels, centres at integers; repeats."""
    xf, yf = np.floor(x), np.floor(y)
    fx, fy = x - xf, y - yf
    x0, y0 = int(xf) % width, int(yf) % height
    x1, y1 = x0 + 1, y0 + 1
    if x1 == width:
        x1 = 0
    if y1 == height:
        y1 = 0
    a, b = first + y0 * width + x0, first + y0 * width + x1
    c, d = first + y1 * width + x0, first + y1 * width + x1
    wa, wb, wc, wd = (1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy
    r = wa * texels[a, 0] + wb * texels[b, 0] + wc * texels[c, 0] + wd * texels[d, 0]
    g = wa * texels[a, 1] + wb * texels[b, 1] + wc * texels[c, 1] + wd * texels[d, 1]
    h = wa * texels[a, 2] + wb * texels[b, 2] + wc * texels[c, 2] + wd * texels[d, 2]
    return r, g, h


@njit(cache=True, nogil=True, inline="always")
def _light_at(lumels, first, rows, columns, s, t):
    """Light at (s, t) in [0, 1]² of a patch; lumels lie on a grid that includes the corners."""
    x, y = min(max(s, 0.0), 1.0) * (columns - 1), min(max(t, 0.0), 1.0) * (rows - 1)
    x0, y0 = min(int(x), columns - 2), min(int(y), rows - 2)
    fx, fy = x - x0, y - y0
    i = first + y0 * columns + x0
    return (1 - fy) * ((1 - fx) * lumels[i] + fx * lumels[i + 1]) + fy * (
        (1 - fx) * lumels[i + columns] + fx * lumels[i + columns + 1]
    )


@njit(cache=True, nogil=True)
def shade(
    rays,
    surface,
    pixel_rad,
    centre,
    origin,
    axis_a,
    axis_b,
    normal,
    size,
    bend,
    texture,
    uv,
    texels,
    tex_first,
    tex_width,
    tex_height,
    tex_levels,
    texel_m,
    lumels,
    light_first,
    light_shape,
    out,
):
    """Colour (m, 3) of each ray: texture filtered over the footprint of `pixel_rad`, times baked light."""
    for i in range(len(rays)):
        out[i, 0] = out[i, 1] = out[i, 2] = 0.0
        k = surface[i]
        if k < 0 or pixel_rad[i] == 0.0:
            continue
        dx, dy, dz = float(rays[i, 3]), float(rays[i, 4]), float(rays[i, 5])
        cosine = dx * normal[k, 0] + dy * normal[k, 1] + dz * normal[k, 2]
        ox, oy, oz = origin[k, 0] - centre[0], origin[k, 1] - centre[1], origin[k, 2] - centre[2]
        if cosine > -1e-6:  # seen from behind or edge-on
            continue
        depth = (ox * normal[k, 0] + oy * normal[k, 1] + oz * normal[k, 2]) / cosine
        px, py, pz = depth * dx - ox, depth * dy - oy, depth * dz - oz
        s = px * axis_a[k, 0] + py * axis_a[k, 1] + pz * axis_a[k, 2]
        t = px * axis_b[k, 0] + py * axis_b[k, 1] + pz * axis_b[k, 2]

        # The footprint is an ellipse, longer by 1/cosine along the ray's direction in the plane.
        minor = depth * pixel_rad[i]
        major = minor / -cosine
        la = dx * axis_a[k, 0] + dy * axis_a[k, 1] + dz * axis_a[k, 2]
        lb = dx * axis_b[k, 0] + dy * axis_b[k, 1] + dz * axis_b[k, 2]
        length = np.sqrt(la * la + lb * lb)
        if length > 1e-9:
            la, lb = la / length, lb / length
        taps = min(int(np.ceil(major / minor - 0.2)), _MAX_TAPS)
        taps = max(taps, 1)
        m = texture[k]
        texel = texel_m[m]
        lod = np.log2(max(max(minor, major / taps) / texel, 1.0))
        lod = min(lod, tex_levels[m] - 1.0)
        level = int(lod)
        blend = lod - level
        u, v = (s + uv[k, 0]) / texel, (t + uv[k, 1]) / texel
        r = g = b = 0.0
        for tap in range(taps):
            shift = ((tap + 0.5) / taps - 0.5) * major / texel
            x, y = u + shift * la, v + shift * lb
            for step in range(2):
                weight = blend if step else 1 - blend
                if weight == 0.0:
                    continue
                n = level + step
                w, h = tex_width[m, n], tex_height[m, n]
                sx, sy = w / tex_width[m, 0], h / tex_height[m, 0]
                r1, g1, b1 = _bilinear(texels, tex_first[m, n], w, h, x * sx - 0.5, y * sy - 0.5)
                r += weight * r1
                g += weight * g1
                b += weight * b1
        bright = (
            _light_at(lumels, light_first[k], light_shape[k, 0], light_shape[k, 1], s / size[k, 0], t / size[k, 1])
            / taps
        )
        out[i, 0], out[i, 1], out[i, 2] = r * bright, g * bright, b * bright
