"""Session and rig to trajectories with covariance, and a verdict.

`run_session` does it for a folder; `reconstruct_take` for arrays; `score` measures a result against truth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from handcap.reconstruct.pipeline import Reconstruction, ReconstructParams, reconstruct_take
    from handcap.reconstruct.stage import TakeResult, run_session

__all__ = ["ReconstructParams", "Reconstruction", "TakeResult", "reconstruct_take", "run_session"]

_HOME = {
    "ReconstructParams": "pipeline",
    "Reconstruction": "pipeline",
    "reconstruct_take": "pipeline",
    "TakeResult": "stage",
    "run_session": "stage",
}


def __getattr__(name: str) -> Any:
    # Scoring a trajectory must not load a bundle adjuster.
    if name in _HOME:
        from importlib import import_module

        return getattr(import_module(f"handcap.reconstruct.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
