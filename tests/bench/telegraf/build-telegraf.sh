#!/usr/bin/env bash
# Builds Telegraf from its published Go modules, with the few plug-ins that `make bench` measures the hub beside: no vendor's package is needed.
# Needs go, and a network the first time: then less than a minute; nothing is done when it is there. No test needs it.
#   build-telegraf.sh [FOLDER]     where telegraf goes; ~/.cache/lamplighter/bin when not given
# go.mod and go.sum beside this script pin each module by its hash. They hold only what these plug-ins need: `go mod tidy` would fetch
# the modules of all plug-ins, some gigabytes.
set -euo pipefail

version=1.37.2
least_go=1.25.5
here=$(cd "$(dirname "$0")" && pwd)
bin=${1:-$HOME/.cache/lamplighter/bin}
export GOTOOLCHAIN=local GOFLAGS=-buildvcs=false CGO_ENABLED=0

give_up() {
    printf 'build-telegraf: %s\n' "$1" >&2
    exit 1
}

has_version() {
    "$bin/telegraf" version 2>/dev/null | grep -q "Telegraf $version"
}

mkdir -p "$bin"
exec 9>"$bin/.telegraf.lock"
flock 9
has_version && exit 0
command -v go >/dev/null || give_up "needs go, which is not on PATH; or put a telegraf there"
have=$(go env GOVERSION)
printf '%s\n%s\n' "$least_go" "${have#go}" | sort --version-sort --check=quiet || give_up "needs go $least_go or newer, this is ${have#go}"
cd "$here"
printf 'build-telegraf: building Telegraf %s\n' "$version" >&2
go build -p 2 -trimpath -mod=readonly -tags custom,inputs.mqtt_consumer,outputs.influxdb_v2,parsers.influx \
    -ldflags "-s -w -X github.com/influxdata/telegraf/internal.Version=$version" \
    -o "$bin/.telegraf.new" github.com/influxdata/telegraf/cmd/telegraf ||
    give_up "cannot build it; the first time it needs a network, or GOPROXY set to one that it reaches"
mv "$bin/.telegraf.new" "$bin/telegraf"
has_version || give_up "the telegraf that was built does not run"
