# pyright: basic
"""The compiled inner loops of the renderer."""

from __future__ import annotations

import numpy as np
from numba import njit

_MAX_TAPS = 4  # along the long axis of a footprint; beyond it the picture gets softer, never aliased
_HIGHLIGHT, _SHARPNESS, _SHEEN, _RIM = 0.4, 18, 0.06, 0.28  # gloss of skin: dry, not oily


@njit(cache=True, nogil=True)
def place_rays(ray_cam, pixel, width, R_frame_cam, centre_frame):
    """Rays of some pixels in a frame that may move against the camera from one picture row to the next.

    Args:
        ray_cam: (h·w, ..., 3) as (h·w, n, 3): n rays a pixel, camera frame.
        pixel: (m,) which pixels.
        width: of the picture.
        R_frame_cam, centre_frame: (1 or h, 3, 3) and (1 or h, 3): the camera's pose at each row.

    Returns:
        (m·n, 6) float32: origin, direction.
    """
    n = ray_cam.shape[1]
    out = np.empty((len(pixel) * n, 6), np.float32)
    rows = len(R_frame_cam)
    for i in range(len(pixel)):
        r = pixel[i] // width if rows > 1 else 0
        for j in range(n):
            x, y, z = ray_cam[pixel[i], j, 0], ray_cam[pixel[i], j, 1], ray_cam[pixel[i], j, 2]
            for k in range(3):
                out[i * n + j, k] = centre_frame[r, k]
                out[i * n + j, 3 + k] = R_frame_cam[r, k, 0] * x + R_frame_cam[r, k, 1] * y + R_frame_cam[r, k, 2] * z
    return out


@njit(cache=True, nogil=True)
def picked(rays, which):
    """Some rays (m, 6) of many; indexing does the same but keeps other threads from running Python."""
    out = np.empty((len(which), 6), np.float32)
    for i in range(len(which)):
        for k in range(6):
            out[i, k] = rays[which[i], k]
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def rays_into_box(ray_cam, pixel, pixel_rad, width, R_frame_cam, centre_frame, axis_cam, cosine, low, high):
    """Rays of some pixels that look into a cone and enter a box.

    Args:
        ray_cam, pixel, width, R_frame_cam, centre_frame: as for `place_rays`.
        pixel_rad: (h·w,) 0 outside the lens field.
        axis_cam, cosine: the cone about the box, camera frame.
        low, high: (3,) corners of the box, in the frame that moves.

    Returns:
        (k,) which rays, counted through the (m·n) of all pixels, and (k, 6) float32 origin, direction.
    """
    n = ray_cam.shape[1]
    which, rays = np.empty(len(pixel) * n, np.int64), np.empty((len(pixel) * n, 6), np.float32)
    count = 0
    for i in range(len(pixel)):
        p = pixel[i]
        along = ray_cam[p, 0, 0] * axis_cam[0] + ray_cam[p, 0, 1] * axis_cam[1] + ray_cam[p, 0, 2] * axis_cam[2]
        if along <= cosine or pixel_rad[p] == 0:
            continue
        row = p // width if len(R_frame_cam) > 1 else 0
        R, centre = R_frame_cam[row], centre_frame[row]
        for j in range(n):
            x, y, z = ray_cam[p, j, 0], ray_cam[p, j, 1], ray_cam[p, j, 2]
            enter, leave = 0.0, np.inf
            for c in range(3):
                rays[count, c] = centre[c]
                rays[count, 3 + c] = R[c, 0] * x + R[c, 1] * y + R[c, 2] * z
                slope = 1.0 / rays[count, 3 + c]  # infinite along a face, which the comparisons bear
                one, other = (low[c] - centre[c]) * slope, (high[c] - centre[c]) * slope
                enter, leave = max(enter, min(one, other)), min(leave, max(one, other))
            if enter <= leave:
                which[count] = i * n + j
                count += 1
    return which[:count], rays[:count]


@njit(cache=True, nogil=True)
def plane_depth(rays, surface, origin, normal):
    """(m,) float32 distance along each ray to the plane of its surface; infinite for none."""
    out = np.full(len(rays), np.inf, np.float32)
    for i in range(len(rays)):
        k = surface[i]
        if k < 0:
            continue
        cosine = rays[i, 3] * normal[k, 0] + rays[i, 4] * normal[k, 1] + rays[i, 5] * normal[k, 2]
        if cosine != 0:
            ox, oy, oz = origin[k, 0] - rays[i, 0], origin[k, 1] - rays[i, 1], origin[k, 2] - rays[i, 2]
            out[i] = (ox * normal[k, 0] + oy * normal[k, 1] + oz * normal[k, 2]) / cosine
    return out


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


@njit(cache=True, nogil=True)
def fill_between(surface, width):
    """Give pixels of the checkerboard's odd fields the surface that all their neighbours see.

    Surfaces are flat and convex, so what all neighbours see, the pixel between them sees too, unless something less
    than one and a half pixels thin hides there.

    Args:
        surface: (h·w,) known on the even fields; changed in place.
        width: of the picture.

    Returns:
        The odd pixels (k,) whose neighbours disagree.
    """
    height = len(surface) // width
    open_pixels = np.empty(len(surface) // 2 + 1, np.int64)
    count = 0
    for v in range(height):
        for u in range((v + 1) % 2, width, 2):
            i = v * width + u
            seen = surface[i - 1] if u > 0 else surface[i + 1]
            agree = u + 1 == width or surface[i + 1] == seen
            agree = agree and (v == 0 or surface[i - width] == seen)
            agree = agree and (v + 1 == height or surface[i + width] == seen)
            if agree:
                surface[i] = seen
            else:
                open_pixels[count] = i
                count += 1
    return open_pixels[:count]


@njit(cache=True, nogil=True)
def expose(light, arriving, gain, noise, out):
    """Light (h, w, 3), share that arrives (h, w), gain and noise (h, w) to uint8; bright parts roll off softly."""
    knee, room = np.float32(190.0), np.float32(60.0)
    gain = np.float32(gain)
    for v in range(light.shape[0]):
        for u in range(light.shape[1]):
            share = arriving[v, u] * gain
            for c in range(3):
                grey = light[v, u, c] * share
                if grey > knee:
                    grey = knee + room * (grey - knee) / (grey - knee + room)
                out[v, u, c] = np.uint8(min(max(grey + noise[v, u] + np.float32(0.5), np.float32(0)), np.float32(255)))


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


@njit(cache=True, nogil=True)
def gather(subrays, subsurface, per_pixel):
    """One ray per surface that a pixel sees, through the middle of what it sees of it.

    Args:
        subrays: (m·per_pixel, 6), those of one pixel after the other.
        subsurface: (m·per_pixel,).
        per_pixel: rays per pixel.

    Returns:
        Rays (k, 6), their surface (k,), pixel (k,), share of the pixel (k,) and one subray that saw it (k,).
    """
    total = len(subrays)
    rays, surface = np.empty((total, 6), np.float32), np.empty(total, np.int32)
    pixel, share = np.empty(total, np.int64), np.empty(total, np.float32)
    source = np.empty(total, np.int64)
    count = 0
    for i in range(0, total, per_pixel):
        begin = count
        for j in range(i, i + per_pixel):
            slot = begin
            while slot < count and surface[slot] != subsurface[j]:
                slot += 1
            if slot == count:
                count += 1
                surface[slot], pixel[slot], share[slot] = subsurface[j], i // per_pixel, 0.0
                source[slot] = j
                rays[slot, :3] = subrays[j, :3]
                rays[slot, 3:] = 0.0
            rays[slot, 3:] += subrays[j, 3:]
            share[slot] += np.float32(1.0)
        for slot in range(begin, count):
            rays[slot, 3:] /= share[slot]
            share[slot] /= np.float32(per_pixel)
    return rays[:count], surface[:count], pixel[:count], share[:count], source[:count]


@njit(cache=True, nogil=True)
def scatter(colour, pixel, share, where, picture):
    """Sum the shares of each pixel into `picture` (n, 3) at `where` (m,)."""
    for i in where:
        picture[i] = 0.0
    for k in range(len(colour)):
        i = where[pixel[k]]
        for c in range(3):
            picture[i, c] += share[k] * colour[k, c]


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
def _light_at(lumels, first, rows, columns, s, t):
    """Light at (s, t) in [0, 1]² of a patch; lumels lie on a grid that includes the corners."""
    x, y = min(max(s, 0.0), 1.0) * (columns - 1), min(max(t, 0.0), 1.0) * (rows - 1)
    x0, y0 = min(int(x), columns - 2), min(int(y), rows - 2)
    fx, fy = x - x0, y - y0
    i = first + y0 * columns + x0
    return (1 - fy) * ((1 - fx) * lumels[i] + fx * lumels[i + 1]) + fy * (
        (1 - fx) * lumels[i + columns] + fx * lumels[i + columns + 1]
    )


@njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
def shade(
    rays,
    surface,
    pixel_rad,
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
    body_of,
    light,
    out,
):
    """Colour (m, 3) of each ray: texture filtered over the footprint of `pixel_rad`, times light.

    Light is what was baked on the patch times, per body, `light[0] + light[1:] @ normal`. Rays are in the frame of the
    body they meet; what is no patch of the scene is left black.
    """
    for i in range(len(rays)):
        out[i, 0] = out[i, 1] = out[i, 2] = 0.0
        k = surface[i]
        if k < 0 or k >= len(origin) or pixel_rad[i] == 0.0:
            continue
        dx, dy, dz = float(rays[i, 3]), float(rays[i, 4]), float(rays[i, 5])
        cosine = dx * normal[k, 0] + dy * normal[k, 1] + dz * normal[k, 2]
        ox, oy, oz = origin[k, 0] - rays[i, 0], origin[k, 1] - rays[i, 1], origin[k, 2] - rays[i, 2]
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
        taps = min(int(np.ceil(major / minor - 0.5)), _MAX_TAPS)
        taps = max(taps, 1)
        m = texture[k]
        texel = texel_m[m]
        # The level whose texels are about as large as the footprint; a loop is faster than a logarithm.
        coarse = max(minor, major / taps) / texel
        level = 0
        while coarse >= 2.0 and level < tex_levels[m] - 1:
            coarse *= 0.5
            level += 1
        # Half-way between two levels they are blended; near one, it will do alone: half the work, and still no seam.
        blend = min(max(2.0 * (coarse - 1.15), 0.0), 1.0) if level < tex_levels[m] - 1 else 0.0
        level_share = (1 - blend, blend)
        # In shares of the picture's edge; the whole part is which repetition it is.
        per_u, per_v = 1.0 / (texel * tex_width[m, 0]), 1.0 / (texel * tex_height[m, 0])
        u, v = (s + uv[k, 0]) * per_u, (t + uv[k, 1]) * per_v
        step_u, step_v = major * la * per_u, major * lb * per_v
        r = g = b = np.float32(0.0)
        for tap in range(taps):
            shift = (tap + 0.5) / taps - 0.5
            x, y = u + shift * step_u, v + shift * step_v
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
        bright = (
            _light_at(lumels, light_first[k], light_shape[k, 0], light_shape[k, 1], s / size[k, 0], t / size[k, 1])
            / taps
        )
        body = body_of[k]
        if body > 0:
            turn = bend[k] * (s - size[k, 0] / 2)
            nx = normal[k, 0] + turn * axis_a[k, 0]
            ny = normal[k, 1] + turn * axis_a[k, 1]
            nz = normal[k, 2] + turn * axis_a[k, 2]
            length = np.sqrt(1 + turn * turn)
            bright *= max(
                light[body, 0] + (light[body, 1] * nx + light[body, 2] * ny + light[body, 3] * nz) / length, 0.12
            )
        out[i, 0], out[i, 1], out[i, 2] = r * bright, g * bright, b * bright
