"""`handcap calibrate rig`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from handcap.cli.options import AsJson, Lang
from handcap.cli.outcome import Outcome, finish
from handcap.errors import UsageError


def rig(
    parts: Annotated[list[Path], typer.Argument(help="Parts that the other steps left (.json), or folders of them.")],
    out: Annotated[Path, typer.Option(help="The rig.json to write; its page goes beside it.")] = Path("rig.json"),
    base: Annotated[
        Path | None, typer.Option(help="The rig's drawing, or its earlier calibration: what was not measured again.")
    ] = None,
    rig_id: Annotated[str | None, typer.Option(help="Name of the rig; default: the base's.")] = None,
    valid_days: Annotated[float, typer.Option(help="In force so long after the oldest part.", min=0)] = 90.0,
    apart_days: Annotated[float, typer.Option(help="Parts may be this far apart.", min=0)] = 60.0,
    assigned_to: Annotated[str | None, typer.Option(help="Alias of the only collector who should use it.")] = None,
    nominal: Annotated[
        list[str] | None, typer.Option(help="Part for which the base's values will do: imu-head; may be given again.")
    ] = None,
    serial: Annotated[
        list[str] | None, typer.Option(help="What is printed on a part: lens_head=A1234; may be given again.")
    ] = None,
    store: Annotated[Path | None, typer.Option(help="Rig store to compare with; default: the user's.")] = None,
    as_json: AsJson = False,
    lang: Lang = "en",
) -> None:
    """Join the parts of one rig into its rig.json; says what is refused, foreign, missing or contradictory."""
    from handcap.calibrate.join import JoinParams, Wishes
    from handcap.calibrate.rig import calibrate_rig
    from handcap.session import RigStore, read_rig

    serials = dict(_serial(text) for text in serial or ())
    rig_store = RigStore(store)
    named = rig_id or (read_rig(base).rig_id if base is not None else None)
    earlier = rig_store.record(named).calibrations if named in rig_store.ids() else ()
    result = calibrate_rig(
        parts,
        out,
        base=base,
        earlier=[(calibration.created, calibration.rig) for calibration in earlier],
        wishes=Wishes(rig_id, assigned_to, serials, tuple(nominal or ())),
        params=JoinParams(valid_days=valid_days, most_apart_days=apart_days),
        lang=lang,
    )
    joined = result.joined
    word = {"en": "in force until", "zh": "有效期至"}[lang]
    lines = [f"{out}: {joined.rig.rig_id}, {word} {joined.rig.valid_until or '?'}"]
    for cause in joined.causes:
        lines += [f"  {cause.text(lang)}", f"    → {cause.mend(lang)}"]
    lines.append({"en": f"next: handcap rigs add {out}", "zh": f"下一步:handcap rigs add {out}"}[lang])
    details = {
        "rig_id": joined.rig.rig_id,
        "verdict": joined.verdict,
        "valid_until": joined.rig.valid_until,
        "causes": [cause.as_dict(lang) for cause in joined.causes],
    }
    finish(Outcome(result.outputs, lines=lines, details=details), as_json)


def _serial(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise UsageError(f"--serial {text!r} is no NAME=SERIAL", mend="write it as lens_head=A1234")
    return name, value
