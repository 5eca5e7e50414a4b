#!/bin/sh
# Are the system packages here that the Python wheels link against? Installs them as root, else prints the line to run.
set -eu

packages="python3-venv libgl1 libegl1 libgles2 libx11-6 libgomp1 libusb-1.0-0 libudev1"
[ "${1:-}" = "--list" ] && { echo "$packages"; exit 0; }

if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "handcap: this is not Debian or Ubuntu; make sure the equivalents of these are installed: $packages" >&2
    exit 0
fi

missing=""
for package in $packages; do
    dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
# Any Python with venv will do, wherever it came from.
if python3 -c 'import ensurepip, venv' 2>/dev/null; then
    missing=$(echo "$missing" | sed 's/python3-venv//')
fi
missing=$(echo $missing)
[ -z "$missing" ] && exit 0

line="apt-get update && apt-get install -y --no-install-recommends $missing"
if [ "$(id -u)" = 0 ]; then
    echo "handcap: installing system packages: $missing"
    sh -c "DEBIAN_FRONTEND=noninteractive; export DEBIAN_FRONTEND; $line" && exit 0
    echo "handcap: apt-get failed; mend that and run make again" >&2
    exit 1
fi
echo "handcap: system packages are missing. Run this, then make again:" >&2
echo "  sudo sh -c '$line'" >&2
exit 1
