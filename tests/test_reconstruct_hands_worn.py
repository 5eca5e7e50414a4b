"""A wearer's bones from take to take: weighed, one bad take hardly pulls, what says nothing is passed over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recording import jpeg, new_session, record

from handcap import session
from handcap.reconstruct.hands import HandParams
from handcap.reconstruct.hands.bare import _sized
from handcap.reconstruct.hands.bones import HAND_BONES, SIGMA, lengths_m
from handcap.reconstruct.hands.sighting import Sighting
from handcap.reconstruct.hands.worn import WornBones, worn_bones
from handcap.reconstruct.session_map import Earlier
from handcap.sim.hand import Hand, HandShape, grips
from handcap.types import MountedCamera

TRUE_M = np.linspace(0.02, 0.1, len(HAND_BONES))


def report(grown: float = 1.0, solved: float = 1.0, sigma: float = 0.02) -> dict[str, Any]:
    lengths = grown * TRUE_M
    numbers = {"bones_solved": solved, "bones_m": lengths.tolist(), "bones_sigma_m": (sigma * lengths).tolist()}
    return {"verdict": "ok", "bodies": {"head": {"numbers": {}}, "right_hand": {"numbers": numbers}}}


def test_takes_are_weighed_by_how_sure_they_are() -> None:
    found = worn_bones({"0001": report(1.0, sigma=0.01), "0002": report(1.02, sigma=0.1)})
    assert found is not None and found.takes == ("0001", "0002")
    np.testing.assert_allclose(found.lengths_m, TRUE_M, rtol=1e-3)
    assert (found.sigma_m / found.lengths_m < 0.02).all()


def test_one_take_that_went_wrong_hardly_pulls() -> None:
    found = worn_bones({"0001": report(1.0), "0002": report(0.99), "0003": report(1.6), "0004": report(1.01)})
    assert found is not None
    np.testing.assert_allclose(found.lengths_m, TRUE_M, rtol=0.01)


def test_takes_err_alike_so_that_many_are_no_surer_than_one() -> None:
    found = worn_bones({f"{k:04}": report() for k in range(1, 30)})
    assert found is not None
    np.testing.assert_allclose(found.sigma_m, 0.02 * TRUE_M)


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"bodies": {"right_hand": {"verdict": "refused", "numbers": {"seen": 0.0}}}},
        report(solved=0.0),
        {"bodies": {"right_hand": {"numbers": {"bones_solved": 1.0, "bones_m": [0.1], "bones_sigma_m": [0.1]}}}},
        {"bodies": {"right_hand": {"numbers": {"bones_solved": 1.0, "bones_m": [None] * 20, "bones_sigma_m": 3}}}},
        report(grown=100.0),
        {"bodies": ["right_hand"]},
        {"bodies": {"right_hand": [0.1]}},
        {"bodies": {"right_hand": {"numbers": "none"}}},
        {"bodies": {"right_hand": {"numbers": {"bones_solved": 1.0}}}},
    ],
)
def test_takes_that_say_nothing_usable_are_passed_over(bad: dict[str, Any]) -> None:
    assert worn_bones({"0001": bad}) is None
    found = worn_bones({"0001": bad, "0002": report()})
    assert found is not None and found.takes == ("0002",)


def test_only_earlier_takes_speak(tmp_path: Path) -> None:
    with new_session(tmp_path / "s") as writer:
        for _ in range(3):
            with writer.start_take() as out:
                record(out, 0.1, jpeg())
    recorded = session.read(tmp_path / "s")
    for take, grown in zip(recorded.takes, (1.0, 1.0, 2.0), strict=True):
        with session.write_stage(recorded, take, "reconstruct") as folder:
            session.write_report(folder, report(grown))
    first, second, third = recorded.takes
    assert worn_bones(Earlier(recorded, first).reports) is None
    found = worn_bones(Earlier(recorded, third).reports)
    assert found is not None and found.takes == (first, second)
    np.testing.assert_allclose(found.lengths_m, TRUE_M)


def test_one_view_of_a_small_hand_takes_its_size_from_earlier_takes() -> None:
    joints = Hand(HandShape(side="right", length_m=0.16)).joints_wrist(grips.relaxed()) + [0.0, 0.0, 0.5]
    rays = joints / np.linalg.norm(joints, axis=1, keepdims=True)
    seen = [{"head": Sighting(rays, 1.3 * (joints - joints[0]), 1.0, 1.0)}]
    mounts: dict[str, MountedCamera] = {}
    true_m, params = lengths_m(joints), HandParams()
    alone = _sized(seen, mounts, params)
    worn = WornBones(true_m[:20], true_m[:20] * SIGMA, ("0001",))
    told = _sized(seen, mounts, params, worn)
    assert abs(np.log(alone.bones_m / true_m)).max() > 0.1 and alone.sigma == params.guess_sigma
    assert abs(np.log(told.bones_m / true_m)).max() < 0.03 and told.sigma < 0.03 and not told.solved
