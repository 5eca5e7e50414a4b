#!/bin/sh
# Put nanopb's C runtime into the folder $1: from NANOPB_DIR where that is set, else from the distribution's source
# package, fetched with a package list of our own so that the system's stays as it is.
set -eu
out=$1
files="pb.h pb_common.c pb_common.h pb_decode.c pb_decode.h pb_encode.c pb_encode.h"
mkdir -p "$out"

if [ -z "${NANOPB_DIR:-}" ]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  mkdir -p "$work/sources" "$work/lists/partial" "$work/cache/partial"
  for source in /etc/apt/sources.list.d/*.sources; do
    [ -e "$source" ] && sed 's/^Types:.*/Types: deb-src/' "$source" >"$work/sources/$(basename "$source")"
  done
  if [ -s /etc/apt/sources.list ]; then
    sed -n 's/^deb /deb-src /p' /etc/apt/sources.list >"$work/sources/system.list"
  fi
  apt="apt-get -q -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts=$work/sources \
    -o Dir::State::Lists=$work/lists -o Dir::Cache=$work/cache"
  (cd "$work" && $apt update && $apt source nanopb) >"$work/log" 2>&1 || {
    cat "$work/log" >&2
    echo "nanopb.sh: nanopb's source package did not come. Where there is no network, unpack nanopb 0.4 somewhere" \
      "and set NANOPB_DIR to that folder." >&2
    exit 1
  }
  NANOPB_DIR=$(echo "$work"/nanopb-*/)
fi
for file in $files; do cp "$NANOPB_DIR/$file" "$out/"; done
