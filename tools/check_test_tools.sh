#!/bin/sh
# Are the tools here that build, prove and emulate the firmware, and those that capture's tests take: a voice, small disks,
# cut links? Installs them as root, else prints the line to run.
# Only `make test` needs them; without them, and not on CI, the tests that want them are skipped and say so.
set -eu
cd "$(dirname "$0")/.."

# command or header=Debian package
wanted="arm-none-eabi-gcc=gcc-arm-none-eabi gcc=gcc clang=clang clang-tidy=clang-tidy cppcheck=cppcheck gcovr=gcovr
protoc=protobuf-compiler protoc-gen-nanopb=nanopb dpkg-source=dpkg-dev node=nodejs npm=npm
/usr/lib/arm-none-eabi/newlib/libc.a=libnewlib-arm-none-eabi /usr/include/cmocka.h=libcmocka-dev
/usr/include/pb_encode.h=libnanopb-dev /usr/include/jpeglib.h=libjpeg-dev espeak-ng=espeak-ng /usr/sbin/mkfs.ext4=e2fsprogs
ip=iproute2 unshare=util-linux"

install() {
    line="apt-get update && apt-get install -y --no-install-recommends $*"
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "handcap: some tests want what these Debian packages hold: $*" >&2
    elif [ "$(id -u)" != 0 ]; then
        echo "handcap: some tests are skipped until you run: sudo sh -c '$line'" >&2
    else
        echo "handcap: installing packages for tests: $*"
        DEBIAN_FRONTEND=noninteractive sh -c "$line" >/dev/null ||
            echo "handcap: apt-get failed; some tests cannot run" >&2
    fi
}

missing=""
for pair in $wanted; do
    tool=${pair%%=*}
    case "$tool" in
    /*) [ -e "$tool" ] || missing="$missing ${pair#*=}" ;;
    *) command -v "$tool" >/dev/null 2>&1 || missing="$missing ${pair#*=}" ;;
    esac
done
[ -z "$missing" ] || install $missing
# clang's sanitizers come in a package that is named after its version.
if command -v clang >/dev/null 2>&1 && [ ! -e "$(clang -print-file-name=libclang_rt.asan-x86_64.a)" ] &&
    [ ! -e "$(clang -print-runtime-dir)/libclang_rt.asan-x86_64.a" ]; then
    install "libclang-rt-$(clang -dumpversion | cut -d. -f1)-dev"
fi

emulation=firmware/emulation
stamp=$emulation/node_modules/handcap-setup
want=$(sha256sum <$emulation/package-lock.json)
if command -v npm >/dev/null 2>&1 && ! { [ -f $stamp ] && [ "$(cat $stamp)" = "$want" ]; }; then
    npm ci --silent --no-audit --no-fund --prefix $emulation && echo "$want" >$stamp ||
        echo "handcap: npm did not bring the emulated chip; tests of the firmware cannot run" >&2
fi
