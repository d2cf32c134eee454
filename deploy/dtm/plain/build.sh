#!/usr/bin/env bash
# build.sh FOLDER makes what the benchmark compares our payment with:
#   - FOLDER/dtm, DTM's server as published, of the version in ../go.mod, with the dependencies that ours is built with. One thing differs: it
#     listens on 127.0.0.1, where DTM knows only every address;
#   - FOLDER/sqls, its own scripts, from which `dtm -r` makes its tables;
#   - FOLDER/sample, a program as DTM's examples, with DTM's own client as published.
set -euo pipefail
[[ $# -eq 1 ]] || { echo "usage: $0 FOLDER" >&2; exit 2; }
output=$(realpath -m -- "$1")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export GOWORK=off CGO_ENABLED=0

copy=$output.src
trap 'rm -rf "$copy"' EXIT
rm -rf "$copy" "$output"
mkdir -p "$output"
go mod download github.com/dtm-labs/dtm
cp -r "$(go list -m -f '{{.Dir}}' github.com/dtm-labs/dtm)/." "$copy"
chmod -R u+w "$copy"

sed -i 's/Sprintf(":%d", conf/Sprintf("127.0.0.1:%d", conf/' "$copy/dtmsvr/svr.go"
[[ $(grep -c 'Sprintf("127.0.0.1:%d", conf' "$copy/dtmsvr/svr.go") == 2 ]] ||
  { echo "$0: DTM's dtmsvr/svr.go does not listen at two ports as it did: look again" >&2; exit 1; }

cp go.mod "$copy/our.mod"
cp go.sum "$copy/our.sum"
go mod edit -replace "github.com/dtm-labs/dtm=$copy" "$copy/our.mod"
flags=(-buildvcs=false -ldflags='-s -w')
go build "${flags[@]}" -modfile "$copy/our.mod" -tags plain -o "$output/dtm" ./plain/server
go build "${flags[@]}" -o "$output/sample" ./plain/sample
cp -r "$copy/sqls" "$output/"
