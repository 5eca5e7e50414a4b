"""Limits of the verdict on the spot, each with its source."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SpotParams:
    """Limits. "standard": GB/Z 218.1-2026 as read at second hand; all else is engineering judgement, held against
    virtual takes of seeds below 7000.

    Attributes:
        least_s: of a take.
        most_lost: share of pictures and of inertial samples (standard: 1 %).
        most_saturated_s: at full scale.
        least_rate: share of the rig's inertial rate that must come.
        gap_s: without pictures or samples; the reconstruction bridges half a second.
        frozen_s: of the very same picture.
        dark, bright: mean grey levels beyond which a picture shows nothing.
        least_looked_at: share of the looks at pictures, three a second, that a busy computer must have found time for.
        least_corners: points to hold on to.
        blind_s: of looks with fewer, one after the other: the reconstruction loses track in as much.
        least_followed: share of points found again in the next picture, in the middle of the take's pictures.
        most_edge_px: width of edges in a picture 480 px wide, in the middle of the take's looks. A sharp one has 1.
        jitter_s: of pictures' stamps against a steady beat; sensors are to agree to a millisecond (standard), and the
            reconstruction averages over a few pictures.
        flicker: brightness that jumps so much (natural logarithm) from one picture to the next, and so often
            (`flicker_share` of the looks within `flicker_s`, of `least_flickers` at least). Automatic exposure mends
            0.04 at most from picture to picture, and hands that pass by hide for moments.
        slip_rad: turn of a camera in its mount within a take, or a shift that looks as much.
        jump_s: of a board's clock, as its samples' stamps show it.
        jaw_counts: of the encoder; a jaw that moved less was not used.
        still_rad_s: mean turning of the head in a take in which nobody moved.
        idle_rad_s, idle_s: nobody turns faster, and no jaw moves, for so long: worth a word.
        least_hands: share of the pictures looked at that must show a hand, where hands are bare.
        clock_sigma_s: of a board's clock; sensors are to agree to a millisecond (standard).
    """

    least_s: float = 1.5
    most_lost: float = 0.01
    most_saturated_s: float = 0.02
    least_rate: float = 0.9
    gap_s: float = 0.3
    frozen_s: float = 0.5
    dark: float = 12.0
    bright: float = 243.0
    least_looked_at: float = 0.5
    least_corners: int = 15
    blind_s: float = 0.9
    least_followed: float = 0.3
    most_edge_px: float = 2.2
    jitter_s: float = 2e-3
    flicker: float = 0.04
    flicker_share: float = 0.5
    flicker_s: float = 2.0
    least_flickers: int = 4
    slip_rad: float = 0.0175
    jump_s: float = 5e-3
    jaw_counts: int = 8
    still_rad_s: float = 0.01
    idle_rad_s: float = 0.03
    idle_s: float = 5.0
    least_hands: float = 0.3
    clock_sigma_s: float = 5e-4
