"""Worst stack of the RP2040 image, from its call graph: `python3 stack.py handcap.elf FOLDER_OF_SU_FILES`.

Frames come from the compiler (-fstack-usage) and, for library code without such a file, from the instructions that move
the stack pointer; calls come from the disassembly. Interrupts nest by priority, one of each: the sum of the deepest
of each level is added. Exit 1 where the sum is half of the stack or more, or where something cannot be bounded.
"""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

STACK = 8192  # link.ld
LIMIT = STACK // 2
EXCEPTION_FRAME = 32 + 4  # eight registers, and a word for alignment

# Handlers by priority as main.c sets them; those of one priority do not interrupt each other.
LEVELS = (
    ("uart_handler",),
    ("pin_handler", "timer_0_handler"),
    ("usb_handler",),
    ("timer_1_handler",),
)

# Calls through pointers: who may be meant.
_FIELD = ("pb_default_field_callback",)
INDIRECT = {
    "pb_read": ("buf_read",),
    "pb_readbyte": ("buf_read",),
    "pb_write": ("buf_write",),
    "pb_decode_inner": _FIELD,
    "decode_field": _FIELD,
    "decode_basic_field": _FIELD,
    "pb_encode": _FIELD,
    "encode_field": _FIELD,
    "encode_basic_field": _FIELD,
    "pb_default_field_callback": (),  # it asks the field's own callback: the schema's options make none
    "reboot_to_bootloader": (),  # the boot ROM, which never comes back
}

# How often a function that ends up calling itself may stand on the stack: messages nest as the schema does.
NESTING = 3  # Envelope, Hello, Sensor


def frames(folder: Path) -> dict[str, int]:
    """Bytes per function as the compiler states them; the larger where two static functions share a name."""
    found: dict[str, int] = {}
    for file in folder.glob("*.su"):
        for line in file.read_text().splitlines():
            place, size, kind = line.split("\t")
            name = place.split(":")[-1]
            if kind not in ("static", "dynamic,bounded"):
                raise SystemExit(f"stack.py: {name} has a frame without bound ({kind})")
            found[name] = max(found.get(name, 0), int(size))
    return found


def disassembly(elf: Path) -> dict[str, list[str]]:
    """The instructions of each function."""
    text = subprocess.run(
        ["arm-none-eabi-objdump", "-d", "--no-show-raw-insn", elf], check=True, capture_output=True, text=True
    ).stdout
    functions: dict[str, list[str]] = {}
    name = ""
    for line in text.splitlines():
        head = re.match(r"[0-9a-f]+ <(.+)>:$", line)
        if head:
            name = head[1]
            functions[name] = []
        elif name and "\t" in line:
            functions[name].append(line.split("\t", 1)[1])
    return functions


def pushed(instructions: list[str]) -> int:
    """Bytes of stack that a library function's instructions take, added up as if each ran once."""
    total = 0
    for instruction in instructions:
        push = re.match(r"push\t\{(.*)\}", instruction)
        if push:
            for part in push[1].split(", "):
                ends = re.fullmatch(r"r(\d+)-r(\d+)", part)
                total += 4 * (int(ends[2]) - int(ends[1]) + 1 if ends else 1)
        sub = re.match(r"sub\tsp, #(\d+)", instruction)
        total += int(sub[1]) if sub else 0
    return total


def plain(name: str) -> str:
    """A function's name without what the compiler adds to parts and copies of it, or the linker to its jumps."""
    veneer = re.fullmatch(r"__(.+)_veneer", name)
    return veneer[1] if veneer else name


class Graph:
    def __init__(self, elf: Path, folder: Path) -> None:
        self.code = disassembly(elf)
        self.known = frames(folder)
        self.calls = {name: self.callees(name) for name in self.code}
        self.recursive = {name for name in self.code if name in self.reachable(name)}

    def callees(self, name: str) -> frozenset[str]:
        found: set[str] = set()
        for instruction in self.code[name]:
            call = re.match(r"(?:bl|b\.n|b\.w|b)\t[0-9a-f]+ <([^+>]+)>", instruction)
            if call and plain(call[1]) != name and plain(call[1]) in self.code:
                found.add(plain(call[1]))
            if call and call[1] == name and instruction.startswith("bl"):
                found.add(name)
            if re.match(r"blx\tr", instruction):
                if name.split(".")[0] not in INDIRECT:
                    raise SystemExit(f"stack.py: {name} calls through a pointer; state in INDIRECT who may be meant")
                found.update(INDIRECT[name.split(".")[0]])
        return frozenset(found)

    def reachable(self, name: str) -> set[str]:
        seen: set[str] = set()
        todo = list(self.calls.get(name, ()))
        while todo:
            one = todo.pop()
            if one not in seen:
                seen.add(one)
                todo += self.calls.get(one, ())
        return seen

    def frame(self, name: str) -> int:
        return self.known[name] if name in self.known else pushed(self.code[name])

    def worst(self, root: str) -> tuple[int, tuple[str, ...]]:
        """Bytes and path of the deepest chain of calls from `root`."""
        on_stack: dict[str, int] = {}

        @cache
        def straight(name: str) -> tuple[int, tuple[str, ...]]:
            return deepest(name)

        def deepest(name: str) -> tuple[int, tuple[str, ...]]:
            best: tuple[int, tuple[str, ...]] = (0, ())
            on_stack[name] = on_stack.get(name, 0) + 1
            for callee in sorted(self.calls.get(name, ())):
                if callee in self.recursive:
                    if on_stack.get(callee, 0) < NESTING:
                        best = max(best, deepest(callee))
                elif callee in self.code:
                    best = max(best, straight(callee))
            on_stack[name] -= 1
            return best[0] + self.frame(name), (name, *best[1])

        return deepest(root)


def main() -> None:
    graph = Graph(Path(sys.argv[1]), Path(sys.argv[2]))
    total, path = graph.worst("reset_handler")
    print(f"{total:5} main loop: {' > '.join(path)}")
    for level in LEVELS:
        size, path = max(graph.worst(handler) for handler in level)
        print(f"{size + EXCEPTION_FRAME:5} interrupt: {' > '.join(path)}")
        total += size + EXCEPTION_FRAME
    print(f"{total:5} of {STACK} bytes, {100 * total / STACK:.0f} %")
    if total >= LIMIT:
        raise SystemExit(f"stack.py: {total} bytes are half of the stack or more")


if __name__ == "__main__":
    main()
