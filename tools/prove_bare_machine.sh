#!/bin/sh
# Proves that README.md's commands work on a machine that has nothing: a minimal Debian 12 in a folder of its own.
#
#   tools/prove_bare_machine.sh FOLDER [MIRROR] [COMMAND]
#
# FOLDER must not exist yet (5 GB). MIRROR defaults to this machine's own Debian mirror, COMMAND to `make demo`.
# Needs root and `apt-get install debootstrap`. Nothing outside FOLDER is changed.
set -eu

[ $# -ge 1 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 2; }
root=$1
repository=$(cd "$(dirname "$0")/.." && pwd)
mirror=${2:-}
command=${3:-make demo}

[ "$(id -u)" = 0 ] || { echo "run this as root: debootstrap and chroot need it" >&2; exit 1; }
command -v debootstrap >/dev/null || { echo "run: apt-get install debootstrap" >&2; exit 1; }
[ ! -e "$root" ] || { echo "$root exists; name a folder that does not" >&2; exit 1; }
if [ -z "$mirror" ]; then
    mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Identifier: Packages' | awk '$2 == "bookworm" || $2 == "stable" {print $1; exit}')
    [ -n "$mirror" ] || { echo "no Debian 12 mirror in this machine's sources; give one as second argument" >&2; exit 1; }
fi

debootstrap --variant=minbase --include=ca-certificates bookworm "$root" "$mirror"
mount --bind /proc "$root/proc"
mount --bind /dev "$root/dev"
trap 'umount "$root/proc" "$root/dev"' EXIT

# What a user of this network would have configured: name resolution, certificates, apt and pip mirrors.
cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
rm -rf "$root/etc/ssl/certs"
cp -rL /etc/ssl/certs "$root/etc/ssl/"
if [ -d /usr/local/share/ca-certificates ]; then cp -rL /usr/local/share/ca-certificates "$root/usr/local/share/"; fi
for file in /etc/pip.conf /root/.config/pip/pip.conf /etc/apt/apt.conf.d/*proxy* /etc/apt/auth.conf.d; do
    if [ -e "$file" ]; then
        mkdir -p "$root$(dirname "$file")"
        cp -rL "$file" "$root$(dirname "$file")/"
    fi
done
env | grep '^PIP_' | sed "s/=\\(.*\\)/='\\1'/; s/^/export /" > "$root/pip_settings"
for folder in ${PIP_FIND_LINKS:-}; do
    if [ -d "$folder" ]; then
        mkdir -p "$root$folder"
        cp -rL "$folder/." "$root$folder/"
    fi
done

git clone -q "$repository" "$root/handcap"
line=$(grep -m1 '^ *sudo apt-get\|^ *apt-get' "$repository/README.md" | sed 's/^ *//; s/sudo //g')
echo "== README's line: $line"
started=$(date +%s)
env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive chroot "$root" sh -c "$line"
echo "== $command"
env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
    chroot "$root" sh -c ". /pip_settings && cd /handcap && $command"
echo "== done in $(( $(date +%s) - started )) s; $(du -xsh "$root" | cut -f1) in $root"
