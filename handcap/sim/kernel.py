# pyright: basic
"""The compiled inner loops of ray casting: where rays go and what they meet."""

from __future__ import annotations

import numpy as np
from numba import njit


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
def rays_to_surfaces(ray_cam, surface, owner, width, R_frame_cam, centre_frame):
    """The ray of every pixel in the frame of what it meets.

    Args:
        ray_cam: (h·w, 1, 3) camera frame.
        surface: (h·w,) what each meets; -1 for nothing.
        owner: (s + 1,) which frame each surface is in; the last one for nothing.
        width: of the picture.
        R_frame_cam, centre_frame: (f, 1 or h, 3, 3) and (f, 1 or h, 3): the camera's pose in each frame, at each row.

    Returns:
        (h·w, 6) float32: origin, direction.
    """
    out = np.empty((len(surface), 6), np.float32)
    rows = R_frame_cam.shape[1]
    for i in range(len(surface)):
        f, r = owner[surface[i]], i // width if rows > 1 else 0
        x, y, z = ray_cam[i, 0, 0], ray_cam[i, 0, 1], ray_cam[i, 0, 2]
        for k in range(3):
            out[i, k] = centre_frame[f, r, k]
            out[i, 3 + k] = R_frame_cam[f, r, k, 0] * x + R_frame_cam[f, r, k, 1] * y + R_frame_cam[f, r, k, 2] * z
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


@njit(cache=True, nogil=True)
def fill_between(surface, width, flat, diagonal):
    """Give pixels between others the surface that all four of those see.

    Surfaces are flat and convex, so what all of them see, the pixel between them sees too, unless something too thin to
    reach one of them hides there.

    Args:
        surface: (h·w,) changed in place. Known where row and column are even, to fill those where both are odd from
            their diagonal neighbours; known in both, to fill the rest from the neighbours beside, above and below.
        width: of the picture.
        flat: surfaces from this number on are bent meshes: every ray must be cast, to learn where it meets them.
        diagonal: which of the two.

    Returns:
        The pixels (k,) whose neighbours disagree, and those (m,) whose neighbours all see the same mesh.
    """
    height = len(surface) // width
    open_pixels, bent_pixels = np.empty(len(surface) // 2 + 1, np.int64), np.empty(len(surface) // 2 + 1, np.int64)
    count, bent = 0, 0
    for v in range(1 if diagonal else 0, height, 2 if diagonal else 1):
        for u in range(1 if diagonal else (v + 1) % 2, width, 2):
            i = v * width + u
            left, right, above, below = u > 0, u + 1 < width, v > 0, v + 1 < height
            if diagonal:
                seen = surface[i - width - 1]
                agree = not right or surface[i - width + 1] == seen
                agree = agree and (not below or surface[i + width - 1] == seen)
                agree = agree and (not (right and below) or surface[i + width + 1] == seen)
            else:
                seen = surface[i - 1] if left else surface[i + 1]
                agree = not right or surface[i + 1] == seen
                agree = agree and (not above or surface[i - width] == seen)
                agree = agree and (not below or surface[i + width] == seen)
            if not agree:
                open_pixels[count] = i
                count += 1
                continue
            surface[i] = seen
            if seen >= flat:
                bent_pixels[bent] = i
                bent += 1
    return open_pixels[:count], bent_pixels[:bent]


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


@njit(cache=True, nogil=True, error_model="numpy")
def look_around(
    edge, surface, around_cam, owner, width, R_frame_cam, centre_frame, origin, axis_a, axis_b, normal, size, is_round
):
    """What the rays beside the centre of each pixel meet, if that is one of the surfaces its neighbours see.

    Rectangles are met exactly; a pixel beside a disc, a bent mesh or nothing is left to be cast.

    Args:
        edge: (m,) pixels.
        surface: (h·w,) what the centre of every pixel sees.
        around_cam: (h·w, n, 3) rays through each pixel.
        width, owner, R_frame_cam, centre_frame: as for `rays_to_surfaces`.
        origin, axis_a, axis_b, normal, size, is_round: of the surfaces.

    Returns:
        (m, n + 1) surfaces, that of the centre first; and which of the `edge` pixels (k,) must be cast.
    """
    n, rows, height = around_cam.shape[1], R_frame_cam.shape[1], len(surface) // width
    out = np.empty((len(edge), n + 1), np.int32)
    unsure = np.empty(len(edge), np.int64)
    count = 0
    known = np.empty(9, np.int32)
    for e in range(len(edge)):
        i = edge[e]
        v, u = i // width, i % width
        row = v if rows > 1 else 0
        out[e, 0] = surface[i]
        total, sure = 0, True
        for b in range(max(v - 1, 0), min(v + 2, height)):
            for a in range(max(u - 1, 0), min(u + 2, width)):
                k = surface[b * width + a]
                if k < 0 or k >= len(origin) or is_round[k]:
                    sure = False
                    continue
                fresh = True
                for j in range(total):
                    fresh &= known[j] != k
                if fresh:
                    known[total] = k
                    total += 1
        for j in range(n):
            if not sure:
                break
            x, y, z = around_cam[i, j, 0], around_cam[i, j, 1], around_cam[i, j, 2]
            nearest, found = np.inf, -1
            for m in range(total):
                k = known[m]
                f = owner[k]
                R, c = R_frame_cam[f, row], centre_frame[f, row]
                dx = R[0, 0] * x + R[0, 1] * y + R[0, 2] * z
                dy = R[1, 0] * x + R[1, 1] * y + R[1, 2] * z
                dz = R[2, 0] * x + R[2, 1] * y + R[2, 2] * z
                ox, oy, oz = origin[k, 0] - c[0], origin[k, 1] - c[1], origin[k, 2] - c[2]
                away = ox * normal[k, 0] + oy * normal[k, 1] + oz * normal[k, 2]
                depth = away / (dx * normal[k, 0] + dy * normal[k, 1] + dz * normal[k, 2])
                if not 0 < depth < nearest:
                    continue
                px, py, pz = depth * dx - ox, depth * dy - oy, depth * dz - oz
                s = px * axis_a[k, 0] + py * axis_a[k, 1] + pz * axis_a[k, 2]
                t = px * axis_b[k, 0] + py * axis_b[k, 1] + pz * axis_b[k, 2]
                if 0 <= s <= size[k, 0] and 0 <= t <= size[k, 1]:
                    nearest, found = depth, k
            out[e, 1 + j] = found
            sure = found >= 0
        if not sure:
            unsure[count] = e
            count += 1
    return out, unsure[:count]


@njit(cache=True, nogil=True)
def gather(edge, seen, centre_cam, around_cam, owner, width, R_frame_cam, centre_frame):
    """One ray per surface that a pixel sees, through the middle of what it sees of it.

    Args:
        edge: (m,) pixels.
        seen: (m, n + 1) surfaces that their rays meet.
        centre_cam, around_cam: (h·w, 1, 3) and (h·w, n, 3): those rays, camera frame.
        owner, width, R_frame_cam, centre_frame: as for `rays_to_surfaces`.

    Returns:
        Rays (k, 6) in the frame of what they meet, their surface (k,), row of `edge` (k,), share of the pixel (k,) and
        one of the m·(n + 1) rays that saw it (k,).
    """
    each, rows = seen.shape[1], R_frame_cam.shape[1]
    total = len(edge) * each
    rays, surface = np.empty((total, 6), np.float32), np.empty(total, np.int32)
    pixel, share = np.empty(total, np.int64), np.empty(total, np.float32)
    source = np.empty(total, np.int64)
    count = 0
    for e in range(len(edge)):
        begin, i = count, edge[e]
        for j in range(each):
            slot = begin
            while slot < count and surface[slot] != seen[e, j]:
                slot += 1
            if slot == count:
                count += 1
                surface[slot], pixel[slot], share[slot] = seen[e, j], e, 0.0
                source[slot] = e * each + j
                rays[slot] = 0.0
            for c in range(3):
                rays[slot, c] += centre_cam[i, 0, c] if j == 0 else around_cam[i, j - 1, c]
            share[slot] += np.float32(1.0)
        row = i // width if rows > 1 else 0
        for slot in range(begin, count):
            f = owner[surface[slot]]
            R, centre = R_frame_cam[f, row], centre_frame[f, row]
            x, y, z = rays[slot, 0] / share[slot], rays[slot, 1] / share[slot], rays[slot, 2] / share[slot]
            for c in range(3):
                rays[slot, c] = centre[c]
                rays[slot, 3 + c] = R[c, 0] * x + R[c, 1] * y + R[c, 2] * z
            share[slot] /= np.float32(each)
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
