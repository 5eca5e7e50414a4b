"""What one calibration step leaves: a part, as JSON for programs and as one HTML page for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

import handcap
from handcap.calibrate.page import Page, write_page
from handcap.causes import Cause, Verdict
from handcap.errors import CalibrationError
from handcap.session.folder import replace_file
from handcap.session.stage_output import as_json

VERSION = 1
Step = Literal["camera", "stereo", "imu", "camera-imu", "gripper", "verify"]


@dataclass(frozen=True, eq=False, slots=True)
class Part:
    """What one step found about one thing.

    Attributes:
        step: which one.
        subject: the camera, device or side it is about; two cameras joined with "+".
        verdict: "refused" when nobody should use the values.
        causes: why it is not simply ok.
        values: what was estimated, by name, SI; None for unknown.
        sigma: standard deviation of values, by the same names.
        details: what else there is to know: residuals, coverage, cross-validation, covariance.
        uid: of the device it was measured on; None where nobody said.
        created: date and time of the recording, ISO 8601 UTC; None where the recording does not say. Never the time
            of the computation: the same recording gives the same bytes.
        conditions: temperature and the like.
        params: of the algorithm.
        inputs: SHA-256 of every file that was read, by its path relative to the input.
    """

    step: Step
    subject: str
    verdict: Verdict
    causes: Sequence[Cause] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    sigma: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    uid: str | None = None
    created: str | None = None
    conditions: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def stem(self) -> str:
        """Of its files' names: camera-head_left."""
        return f"{self.step}-{self.subject}"


class _PartFile(BaseModel):
    model_config = ConfigDict(extra="ignore")

    version: Literal[1]
    step: Step
    subject: str
    verdict: Verdict
    causes: list[dict[str, Any]] = []
    values: dict[str, Any] = {}
    sigma: dict[str, Any] = {}
    details: dict[str, Any] = {}
    uid: str | None = None
    created: str | None = None
    conditions: dict[str, Any] = {}
    params: dict[str, Any] = {}
    inputs: dict[str, str] = {}


def write_part(folder: Path, part: Part, page: Page) -> tuple[Path, Path]:
    """`<step>-<subject>.json` and `.html` in a folder, made if need be; an earlier one is replaced.

    Raises:
        SessionError: it cannot be written.
    """
    causes = [cause.as_dict() for cause in part.causes]
    told = {
        "version": VERSION,
        "step": part.step,
        "subject": part.subject,
        "verdict": part.verdict,
        "causes": causes,
        "values": part.values,
        "sigma": part.sigma,
        "details": part.details,
        "uid": part.uid,
        "created": part.created,
        "conditions": part.conditions,
        "params": part.params,
        "inputs": part.inputs,
        "versions": {"handcap": handcap.__version__},
    }
    folder.mkdir(parents=True, exist_ok=True)
    for_programs, for_people = folder / f"{part.stem}.json", folder / f"{part.stem}.html"
    replace_file(for_programs, as_json(told).encode())
    write_page(for_people, page)
    return for_programs, for_people


def read_part(path: Path) -> Part:
    """A part as `write_part` left it.

    Raises:
        CalibrationError: it is missing, damaged, or none of ours.
    """
    mend = "run the step of `handcap calibrate` that makes it again"
    try:
        file = _PartFile.model_validate(json.loads(Path(path).read_text(encoding="utf-8")))
        causes = [Cause.from_dict(cause) for cause in file.causes]
    except FileNotFoundError as error:
        raise CalibrationError("no such part of a calibration", where=path, mend=mend) from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(step) for step in first["loc"]) or "the whole file"
        raise CalibrationError(f"{key}: {first['msg']}", where=path, mend=mend) from error
    except KeyError as error:
        raise CalibrationError(f"a cause that this handcap does not know: {error}", where=path, mend=mend) from error
    except (ValueError, OSError, RecursionError) as error:
        raise CalibrationError(f"cannot be read ({error})", where=path, mend=mend) from error
    return Part(
        file.step,
        file.subject,
        file.verdict,
        causes,
        file.values,
        file.sigma,
        file.details,
        file.uid,
        file.created,
        file.conditions,
        file.params,
        file.inputs,
    )
