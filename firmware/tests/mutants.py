"""Break the core in one place at a time and show that some test fails each time: `python3 mutants.py [FILE...]`.

A mutant flips a comparison, drops a condition's half, changes a number by one or takes a statement out. One that
does not compile, or that behaves like the original for a reason stated in EQUIVALENT, does not count. Exit 1 where one
survives: a check that no test misses.
"""

from __future__ import annotations

import re
import resource
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

FIRMWARE = Path(__file__).resolve().parent.parent
BUILD = FIRMWARE / "build"
TESTS = ("test_framing", "test_rx_ring", "test_imu_queue", "test_commands", "test_core", "test_vectors")
ENDLESS_S = 5  # of processor time, a hundred times what a test needs: a mutant that never ends is found too
FLAGS = (
    "-std=c11 -O0 -w -D_POSIX_C_SOURCE=200809L -fsanitize=address,undefined -fno-sanitize-recover=all "
    f"-I{FIRMWARE}/core -I{FIRMWARE}/drivers -I{FIRMWARE}/tests -I{BUILD}/proto -isystem {BUILD}/nanopb"
).split()

# File, part of the line, part of it as changed (";": taken out), and why nobody can tell the difference.
EQUIVALENT = (
    ("hc_commands.c", "commands->next", "(commands->next - 1U) %", "the ring of ids turns the other way round"),
    ("hc_core.c", "turn_us >", "turn_us >= core->loop_late_us_max", "the longest of equals is the same"),
    ("hc_core.c", "waiting <", "waiting <= HC_ENCODER_BATCH", "the least of equals is the same"),
    ("hc_core.c", "to[i] = 0;", ";", "the body was cleared before the text was put there"),
    ("hc_core.c", "board_sent_t_ns = begun", ";", "changes how long framing takes, which costs no time here"),
    ("hc_imu_queue.c", "return a <", "return a <= b", "the least of equals is the same"),
    ("hc_imu_queue.c", "i < most", "i <= most; i++", "a gap behind the batch ends it where it ends anyway"),
)

OPERATORS = {
    "==": ["!="],
    "!=": ["=="],
    ">=": [">", "<"],
    "<=": ["<", ">"],
    " > ": [" >= ", " < "],
    " < ": [" <= ", " >= "],
    "&&": ["||"],
    "||": ["&&"],
    "++;": [";"],
    " += ": [" = "],
    "return true": ["return false"],
    "return false": ["return true"],
    "= true": ["= false"],
    "= false": ["= true"],
    " + ": [" - "],
    " - ": [" + "],
    "!ring": ["ring"],
}


@dataclass(frozen=True)
class Mutant:
    path: Path
    line: int  # from 1
    text: str  # the whole line as changed

    def __str__(self) -> str:
        return f"{self.path.relative_to(FIRMWARE)}:{self.line}: {self.text.strip()}"


def mutants_of(path: Path) -> list[Mutant]:
    """Every small change to every line of code that decides, counts or stores something."""
    found: list[Mutant] = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        code = line.split("/*")[0]
        if not code.strip() or code.lstrip().startswith(("#", "*", "//", "_Static_assert")):
            continue
        for operator, others in OPERATORS.items():
            for at in (match.start() for match in re.finditer(re.escape(operator), code)):
                found += [Mutant(path, number, line[:at] + other + line[at + len(operator) :]) for other in others]
        # A statement that stands alone on its line is left out; declarations with values would not compile without.
        if re.fullmatch(r" +[A-Za-z_][\w\->.\[\]& %]*( =|\+\+| \+=|\().*;", code.rstrip()) and "return" not in code:
            found.append(Mutant(path, number, ";"))
    return [mutant for mutant in found if not is_equivalent(mutant)]


def is_equivalent(mutant: Mutant) -> bool:
    original = mutant.path.read_text().splitlines()[mutant.line - 1]
    for file, part, changed, _ in EQUIVALENT:
        same_change = mutant.text == ";" if changed == ";" else changed in mutant.text
        if mutant.path.name == file and part in original and same_change:
            return True
    return False


def objects(folder: Path) -> list[Path]:
    """Everything but the core, compiled once."""
    sources = [
        *(BUILD / "nanopb").glob("pb_*.c"),
        BUILD / "proto" / "handcap.pb.c",
        FIRMWARE / "tests" / "virtual_board.c",
        *(FIRMWARE / "tests" / f"{test}.c" for test in TESTS),
        *(FIRMWARE / "core").glob("*.c"),
    ]
    for source in sources:
        subprocess.run(["gcc", *FLAGS, "-c", source, "-o", folder / f"{source.stem}.o"], check=True)
    return [
        folder / f"{source.stem}.o" for source in sources if source.parent.name != "tests" or "board" in source.stem
    ]


def limit_time() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (ENDLESS_S, ENDLESS_S))


def failing_test(common: list[Path], folder: Path, work: Path, mutant: Mutant | None) -> str | None:
    """The first test that fails with this mutant, "does not compile", or None where all pass."""
    parts = list(common)
    if mutant is not None:
        lines = mutant.path.read_text().splitlines()
        lines[mutant.line - 1] = mutant.text
        source = work / mutant.path.name
        source.write_text("\n".join(lines) + "\n")
        changed = work / f"{mutant.path.stem}.o"
        if subprocess.run(["gcc", *FLAGS, "-c", source, "-o", changed], capture_output=True, check=False).returncode:
            return "does not compile"
        parts = [changed if part.name == changed.name else part for part in parts]
    for test in sorted(TESTS, key=lambda test: mutant is None or test[5:] not in mutant.path.stem):
        program = work / test
        subprocess.run(["gcc", *FLAGS, folder / f"{test}.o", *parts, "-lcmocka", "-o", program], check=True)
        run = subprocess.run([program], cwd=FIRMWARE, capture_output=True, check=False, preexec_fn=limit_time)
        if run.returncode:
            return test
    return None


def main() -> None:
    paths = [Path(argument).resolve() for argument in sys.argv[1:]] or sorted((FIRMWARE / "core").glob("*.c"))
    with tempfile.TemporaryDirectory() as folder_name:
        folder = Path(folder_name)
        common = objects(folder)
        original = folder / "original"
        original.mkdir()
        failing = failing_test(common, folder, original, None)
        if failing is not None:
            raise SystemExit(f"mutants.py: {failing} fails without any change; run `make test`")

        def outcome(numbered: tuple[int, Mutant]) -> tuple[Mutant, str | None]:
            work = folder / str(numbered[0])
            work.mkdir()
            result = failing_test(common, folder, work, numbered[1])
            for file in work.iterdir():
                file.unlink()
            return numbered[1], result

        mutants = [mutant for path in paths for mutant in mutants_of(path)]
        with ThreadPoolExecutor(2) as pool:
            outcomes = list(pool.map(outcome, enumerate(mutants)))
    compiled = [(mutant, result) for mutant, result in outcomes if result != "does not compile"]
    survivors = [mutant for mutant, result in compiled if result is None]
    for mutant in survivors:
        print(f"no test misses this: {mutant}")
    print(f"{len(compiled)} mutants, {len(compiled) - len(survivors)} found, {len(survivors)} survived")
    raise SystemExit(1 if survivors else 0)


if __name__ == "__main__":
    main()
