# pyright: basic
"""The compiled inner loops of the hand."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def bend(vertices, share, motions):
    """Vertices (v, 3) moved by shares (v, b) of dual quaternions (b, 8); float32."""
    out = np.empty((len(vertices), 3), np.float32)
    q = np.empty(8)
    for i in range(len(vertices)):
        q[:] = 0.0
        for b in range(share.shape[1]):
            if share[i, b] != 0.0:
                for k in range(8):
                    q[k] += share[i, b] * motions[b, k]
        length = np.sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3])
        w, x, y, z = q[0] / length, q[1] / length, q[2] / length, q[3] / length
        e, f, g, h = q[4] / length, q[5] / length, q[6] / length, q[7] / length
        px, py, pz = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        # p + 2 v × (v × p + w p), then 2 (w d − e v + v × d)
        ax, ay, az = y * pz - z * py + w * px, z * px - x * pz + w * py, x * py - y * px + w * pz
        out[i, 0] = px + 2 * (y * az - z * ay) + 2 * (w * f - e * x + y * h - z * g)
        out[i, 1] = py + 2 * (z * ax - x * az) + 2 * (w * g - e * y + z * f - x * h)
        out[i, 2] = pz + 2 * (x * ay - y * ax) + 2 * (w * h - e * z + x * g - y * f)
    return out


@njit(cache=True, nogil=True)
def vertex_normals(vertices, triangles):
    """(v, 3) float32: the triangles around each vertex, weighted by area."""
    total = np.zeros((len(vertices), 3))
    for t in range(len(triangles)):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ux, uy, uz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        vx, vy, vz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for i in (a, b, c):
            total[i, 0] += nx
            total[i, 1] += ny
            total[i, 2] += nz
    out = np.empty(total.shape, np.float32)
    for i in range(len(total)):
        length = np.sqrt(total[i, 0] ** 2 + total[i, 1] ** 2 + total[i, 2] ** 2)
        for k in range(3):
            out[i, k] = total[i, k] / max(length, 1e-20)
    return out


@njit(cache=True, nogil=True, fastmath=True)
def shadowed(vertices, normals, own, balls, radii, ball_finger):
    """(v,) float32 share of surrounding light that balls of other fingers leave: one minus their cosine-weighted
    solid angle, r²/d² cos (Quilez's approximation for a ball above the horizon)."""
    out = np.ones(len(vertices), np.float32)
    for i in range(len(vertices)):
        left = 1.0
        for k in range(len(balls)):
            if ball_finger[k] == own[i]:
                continue
            dx, dy, dz = balls[k, 0] - vertices[i, 0], balls[k, 1] - vertices[i, 1], balls[k, 2] - vertices[i, 2]
            square = dx * dx + dy * dy + dz * dz
            r2 = radii[k] * radii[k]
            if square > 16 * r2:
                continue
            distance = np.sqrt(square)
            cosine = (dx * normals[i, 0] + dy * normals[i, 1] + dz * normals[i, 2]) / distance
            if cosine > 0:
                left *= 1 - min(r2 / square, 1.0) * cosine
        out[i] = left
    return out
