"""`handcap`: wires the verbs, and turns errors into messages and exit codes."""

from __future__ import annotations

import io
import signal
import sys
from typing import Annotated, Any

import typer

from handcap import __version__
from handcap.cli import (
    calibrate,
    capture,
    convert,
    demo,
    devices,
    doctor,
    export,
    flash,
    import_,
    models,
    privacy,
    reconstruct,
    recover,
    retarget,
    review,
    rigs,
    robots,
    simulate,
)
from handcap.cli.outcome import print_json, stdout_for_json
from handcap.errors import HandcapError

app = typer.Typer(
    name="handcap",
    help="People wear the sensors, robots learn from the recordings.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("doctor")(doctor.doctor)
app.command("devices")(devices.devices)
app.command("flash")(flash.flash)
app.command("demo")(demo.demo)
app.command("simulate")(simulate.simulate)
app.add_typer(models.app, name="models")
app.add_typer(import_.app, name="import")
app.add_typer(rigs.app, name="rigs")
app.add_typer(calibrate.app, name="calibrate")
app.command("capture")(capture.capture)
app.command("reconstruct")(reconstruct.reconstruct)
app.add_typer(robots.app, name="robots")
app.command("retarget")(retarget.retarget)
app.command("convert")(convert.convert)
app.command("recover")(recover.recover)
app.add_typer(export.app, name="export")
app.add_typer(privacy.app, name="privacy")
app.command("review")(review.review)

# typer's own copy of click in new versions, click itself in old ones
_ClickUsageError: Any = typer.BadParameter.__base__


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"handcap {__version__}")
        raise typer.Exit


_INTERRUPTED = 128 + signal.SIGINT


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main(arguments: list[str] | None = None) -> None:
    """Entry point. Exit code 0: done; 1: said why not; 2: usage; 130: interrupted."""
    arguments = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in arguments
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that has no Chinese still gets its message
    with stdout_for_json(as_json):
        code = _run(arguments, as_json)
    sys.exit(code)


def _run(arguments: list[str], as_json: bool) -> int:
    try:
        result: Any = app(args=arguments, prog_name="handcap", standalone_mode=False)
    except HandcapError as error:
        _say(error.as_dict(), f"handcap: {error}", as_json)
        return 1
    except _ClickUsageError as error:
        mend = "run `handcap --help`, or `handcap VERB --help`"
        if as_json:
            _say({"where": "command line", "what": error.format_message(), "mend": mend}, "", as_json)
        else:
            error.show()
        return int(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        result = _INTERRUPTED
    if result == _INTERRUPTED:  # typer turns the first Ctrl-C into this exit code itself
        error = HandcapError("interrupted", mend="run the command again")
        _say(error.as_dict(), f"handcap: {error.what}", as_json)
    return result if isinstance(result, int) else 0


def _say(error: dict[str, str | None], text: str, as_json: bool) -> None:
    if as_json:
        print_json({"ok": False, "error": error, "outputs": [], "summary": {"takes": {}}})
    else:
        print(text, file=sys.stderr)


if __name__ == "__main__":
    main()
