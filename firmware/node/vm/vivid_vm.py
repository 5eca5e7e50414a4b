"""A virtual machine with the kernel's own test camera (vivid), in which handcap-node runs: real V4L2 without a camera.

    python firmware/node/vm/vivid_vm.py [--port 7047] [-- NODE OPTIONS]

Boots Debian's kernel in QEMU without KVM, from nothing but the kernel's modules, busybox and the statically linked
node; the node's TCP port is forwarded to 127.0.0.1. Kernel and busybox are fetched once with apt-get (75 MB) and
unpacked into the user's cache; nothing is installed. QEMU itself comes from `apt-get install qemu-system-x86`.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

NODE = Path(__file__).resolve().parents[1]
MODULES = ("virtio_pci", "virtio_net", "vivid")
NODE_PORT = 7047

INIT = """#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs devtmpfs /dev
while read -r module options; do $b insmod /modules/$module.ko $options; done </modules/order
$b ifconfig lo 127.0.0.1 up
$b ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up
/bin/handcap-node --bind 0.0.0.0 --device /dev/video0 $($b cat /node-options) &
node=$!
while $b kill -0 $node 2>/dev/null; do
    echo "vm: up $($b cut -d' ' -f1 /proc/uptime) s, $($b grep VmRSS /proc/$node/status)"
    $b sleep 1
done
wait $node
echo "vm: the node has ended with $?"
$b poweroff -f
"""

# One webcam, no outputs, no tuners.
MODULE_OPTIONS = {"vivid": "n_devs=1 node_types=0x1 num_inputs=1 input_types=0"}


def default_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "handcap" / "vm"


def fetch(package: str, into: Path) -> None:
    """Unpack a Debian package's files below `into`, without installing it."""
    with tempfile.TemporaryDirectory(dir=into) as work:
        done = subprocess.run(
            ["apt-get", "download", "-q", package], cwd=work, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise SystemExit(f"vivid_vm: {package} did not come; `apt-get update` may help\n{done.stderr}")
        (archive,) = Path(work).glob("*.deb")
        subprocess.run(["dpkg-deb", "-x", archive, into], check=True)


def newest_kernel_package() -> str:
    line = ["apt-cache", "depends", "linux-image-amd64"]
    listed = subprocess.run(line, capture_output=True, text=True, check=False)
    found = re.search(r"Depends: (linux-image-\S+)", listed.stdout)
    if found is None:
        raise SystemExit("vivid_vm: apt knows no linux-image-amd64; run `apt-get update`")
    return found[1]


def system(cache: Path) -> Path:
    """The folder with kernel, modules and busybox; fetched if it is not there yet."""
    ready = cache / "system"
    if not ready.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as work:
            for package in (newest_kernel_package(), "busybox-static"):
                fetch(package, Path(work))
            keep(Path(work), cache / "system.part")
        (cache / "system.part").rename(ready)
    return ready


def keep(unpacked: Path, folder: Path) -> None:
    """The few files that are needed, of 400 MB."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "modules").mkdir(parents=True)
    (kernel,) = (unpacked / "boot").glob("vmlinuz-*")
    shutil.copy(kernel, folder / "vmlinuz")
    (busybox,) = (path for path in unpacked.glob("**/bin/busybox") if path.is_file())
    shutil.copy(busybox, folder / "busybox")
    files = {path.stem.replace("-", "_"): path for path in unpacked.glob("lib/modules/**/*.ko")}
    order: list[str] = []
    for name in MODULES:
        add_with_dependencies(name, files, order)
    for name in order:
        shutil.copy(files[name], folder / "modules" / f"{name}.ko")
    (folder / "modules/order").write_text("".join(f"{name} {MODULE_OPTIONS.get(name, '')}\n" for name in order))


def add_with_dependencies(name: str, files: dict[str, Path], order: list[str]) -> None:
    # What depmod would find out, from the module's own .modinfo.
    found = re.search(rb"\0depends=([^\0]*)\0", files[name].read_bytes())
    for needed in found[1].decode().split(",") if found else []:
        if needed and needed.replace("-", "_") in files:
            add_with_dependencies(needed.replace("-", "_"), files, order)
    if name not in order:
        order.append(name)


def cpio(files: dict[str, tuple[int, bytes]]) -> bytes:
    """An archive in the kernel's format ("newc"): path -> mode and content."""
    out = bytearray()
    for number, (path, (mode, content)) in enumerate([*files.items(), ("TRAILER!!!", (0, b""))], start=1):
        name = path.encode() + b"\0"
        header = [number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0]
        out += b"070701" + b"".join(b"%08X" % value for value in header) + name
        out += bytes(-len(out) % 4) + content
        out += bytes(-len(out) % 4)
    return bytes(out)


def initramfs(system_folder: Path, node: Path, node_options: list[str]) -> bytes:
    folder, program, text = 0o040755, 0o100755, 0o100644
    files: dict[str, tuple[int, bytes]] = dict.fromkeys(("bin", "dev", "proc", "sys", "modules"), (folder, b""))
    files["init"] = (program, INIT.encode())
    files["node-options"] = (text, " ".join(node_options).encode())
    files["bin/busybox"] = (program, (system_folder / "busybox").read_bytes())
    files["bin/handcap-node"] = (program, node.read_bytes())
    for path in sorted((system_folder / "modules").iterdir()):
        files[f"modules/{path.name}"] = (text, path.read_bytes())
    return cpio(files)


def qemu_command(system_folder: Path, initrd: Path, port: int) -> list[str]:
    return [
        # qemu64: wider vector instructions are slower than none when each is emulated. icount: the machine's clock
        # follows its instructions and leaps over idleness, so that it may run slower or faster than the host's; a busy
        # host never makes its camera lose a picture.
        *("qemu-system-x86_64", "-accel", "tcg", "-cpu", "qemu64", "-icount", "shift=1,sleep=off"),
        *("-m", "512", "-nographic", "-no-reboot"),
        *("-kernel", str(system_folder / "vmlinuz"), "-initrd", str(initrd)),
        *("-append", "console=ttyS0 quiet panic=-1"),
        *("-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{port}-10.0.2.15:{NODE_PORT}"),
        *("-device", "virtio-net-pci,netdev=net,romfile="),
    ]


def build_node(build: Path) -> Path:
    """The node as one file without libraries."""
    line = ["make", "--no-print-directory", "-C", str(NODE), "STATIC=1", f"BUILD={build}"]
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL)
    return build / "handcap-node"


def main() -> None:
    arguments, after = sys.argv[1:], []
    if "--" in arguments:
        at = arguments.index("--")
        arguments, after = arguments[:at], arguments[at + 1 :]
    parser = argparse.ArgumentParser(description="handcap-node on the kernel's test camera, in a virtual machine.")
    parser.add_argument("--port", type=int, default=NODE_PORT, help="on 127.0.0.1, forwarded to the node")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="for kernel and busybox")
    options = parser.parse_args(arguments)
    if shutil.which("qemu-system-x86_64") is None:
        raise SystemExit("vivid_vm: no qemu-system-x86_64; `apt-get install --no-install-recommends qemu-system-x86`")
    with tempfile.TemporaryDirectory(prefix="handcap-vm-") as work:
        initrd = Path(work) / "initrd"
        node = build_node(Path(work) / "build")
        initrd.write_bytes(initramfs(system(options.cache), node, after or ["--size", "640x360"]))
        command = qemu_command(options.cache / "system", initrd, options.port)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that QEMU does not outlive this program
        machine = subprocess.Popen(command)
        try:
            raise SystemExit(machine.wait())
        finally:
            machine.terminate()
            machine.wait()


if __name__ == "__main__":
    main()
