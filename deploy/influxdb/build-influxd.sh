#!/usr/bin/env bash
# Builds the InfluxDB 2 server, influxd, from its published Go modules and crates: no vendor's package is needed.
# Needs go, cargo, gcc and pkg-config, and a network the first time: then about 4 minutes on two cores; nothing is done when it is there.
#   build-influxd.sh [FOLDER]     where influxd goes; ~/.cache/lamplighter/bin when not given
# go.mod and go.sum beside this script pin each module by its hash, the crates are pinned by Flux' own lock file.
set -euo pipefail

version=2.8.0
least_go=1.25
here=$(cd "$(dirname "$0")" && pwd)
bin=${1:-$HOME/.cache/lamplighter/bin}
work=$HOME/.cache/lamplighter/influxd-$version
export GOTOOLCHAIN=local GOFLAGS=-buildvcs=false

give_up() {
    printf 'build-influxd: %s\n' "$1" >&2
    exit 1
}

has_version() {
    "$bin/influxd" version 2>/dev/null | grep -q "v$version"
}

look_for_tools() {
    local tool
    for tool in go cargo cc pkg-config; do
        command -v "$tool" >/dev/null || give_up "needs $tool, which is not on PATH; or put an influxd 2.x there"
    done
    local have
    have=$(go env GOVERSION)
    printf '%s\n%s\n' "$least_go" "${have#go}" | sort --version-sort --check=quiet || give_up "needs go $least_go or newer, this is ${have#go}"
}

# Flux has a part in Rust that influxd links to. Its sources come with the Go module, which is read-only.
build_libflux() {
    local flux=$1 copy=$work/flux
    rm -rf "$copy"
    mkdir -p "$copy" "$work/lib"
    cp -r "$flux/libflux" "$flux/stdlib" "$copy/" # the standard library is compiled into it
    chmod -R u+w "$copy"
    # without its default features: `strict` makes errors of the warnings that newer compilers found
    (cd "$copy/libflux" && RUSTFLAGS='--cap-lints allow' cargo build --quiet --release --locked --package flux --no-default-features --features cffi) ||
        give_up "cannot build Flux' part in Rust; the first time it needs a network"
    cp -r "$copy/libflux/include" "$work/lib/"
    mv "$copy/libflux/target/release/libflux.a" "$work/lib/libflux.a"
    rm -rf "$copy"
}

describe_libflux() {
    mkdir -p "$work/pkgconfig"
    cat >"$work/pkgconfig/flux.pc" <<PC
Name: flux
Description: Flux
Version: $1
Cflags: -I$work/lib/include
Libs: -L$work/lib -lflux -lm -ldl
PC
}

mkdir -p "$bin" "$work"
exec 9>"$work/lock"
flock 9
has_version && exit 0
look_for_tools
cd "$here"
printf 'build-influxd: building influxd %s, which takes some minutes\n' "$version" >&2
go mod download github.com/influxdata/flux || give_up "cannot get the modules; it needs a network, or GOPROXY set to one that it reaches"
flux=$(go list -m -f '{{.Dir}}' github.com/influxdata/flux)
flux_version=$(go list -m -f '{{.Version}}' github.com/influxdata/flux)
[ -f "$work/lib/libflux.a" ] || build_libflux "$flux"
describe_libflux "${flux_version#v}"
PKG_CONFIG=$(command -v pkg-config) PKG_CONFIG_PATH=$work/pkgconfig CGO_ENABLED=1 \
    go build -p 2 -trimpath -mod=readonly -tags sqlite_foreign_keys,sqlite_json -ldflags "-s -w -X main.version=v$version" \
    -o "$bin/.influxd.new" github.com/influxdata/influxdb/v2/cmd/influxd
mv "$bin/.influxd.new" "$bin/influxd"
has_version || give_up "the influxd that was built does not run"
