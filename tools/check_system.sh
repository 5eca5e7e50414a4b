#!/bin/sh
# Are the system libraries here that the Python wheels link against? Installs them as root, else prints the line to run.
set -eu

# library=Debian package; found by importing every heavy package on a bare Debian 12 (tools/prove_bare_machine.sh)
wanted="libgthread-2.0.so.0=libglib2.0-0 libGL.so.1=libgl1 libEGL.so.1=libegl1 libGLESv2.so.2=libgles2
libX11.so.6=libx11-6 libgomp.so.1=libgomp1 libusb-1.0.so.0=libusb-1.0-0 libudev.so.1=libudev1"

PATH="$PATH:/usr/sbin:/sbin"
have=$(ldconfig -p)
missing=""
for pair in $wanted; do
    case "$have" in *"${pair%%=*} "*) ;; *) missing="$missing ${pair#*=}" ;; esac
done
# Any Python that can make environments will do, wherever it came from.
python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
[ -z "$missing" ] && exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    echo "handcap: libraries are missing and this is not Debian or Ubuntu; install what these hold:$missing" >&2
    exit 1
fi
line="apt-get update && apt-get install -y --no-install-recommends$missing"
if [ "$(id -u)" = 0 ]; then
    echo "handcap: installing system packages:$missing"
    DEBIAN_FRONTEND=noninteractive sh -c "$line" && exit 0
    echo "handcap: apt-get failed; mend that and run make again" >&2
    exit 1
fi
echo "handcap: system packages are missing. Run this line, then make again:" >&2
echo "  sudo sh -c '$line'" >&2
exit 1
