#!/usr/bin/env bash
# build.sh OUTPUT builds the coordinator. DTM's server listens on every address of the machine and cannot be told otherwise, so
# it is compiled from a copy of its module in which HTTP_HOST and GRPC_HOST say where. (go build -overlay would do without the
# copy, but refuses to replace files of the module cache.) A line that is not there exactly once, as in another version of
# DTM, fails the build.
set -euo pipefail
[[ $# -eq 1 ]] || { echo "usage: $0 OUTPUT" >&2; exit 2; }
output=$(realpath -m -- "$1")
cd "$(dirname "${BASH_SOURCE[0]}")"
export GOWORK=off

# Always the same place for the same output, so that go's build cache knows the copy again.
copy=$output.src
trap 'rm -rf "$copy"' EXIT
rm -rf "$copy"
mkdir -p "$(dirname "$copy")"
go mod download github.com/dtm-labs/dtm
cp -r "$(go list -m -f '{{.Dir}}' github.com/dtm-labs/dtm)/." "$copy"
chmod -R u+w "$copy"
server=$copy/dtmsvr/svr.go
source=$(<"$server")

# replace TEXT BY puts BY in the place of TEXT.
replace() {
  local rest=${source#*"$1"}
  if [[ $rest == "$source" || ${rest#*"$1"} != "$rest" ]]; then
    echo "$0: not exactly once in DTM's dtmsvr/svr.go: $1" >&2
    exit 1
  fi
  source=${source/"$1"/"$2"}
}

replace $'\t"net"\n' $'\t"net"\n\t"os"\n'
replace 'app.Run(fmt.Sprintf(":%d", conf.HTTPPort))' 'app.Run(net.JoinHostPort(os.Getenv("HTTP_HOST"), fmt.Sprint(conf.HTTPPort)))'
replace 'net.Listen("tcp", fmt.Sprintf(":%d", conf.GrpcPort))' 'net.Listen("tcp", net.JoinHostPort(os.Getenv("GRPC_HOST"), fmt.Sprint(conf.GrpcPort)))'
# Without its HTTP port the coordinator would go on half alive: nobody could ask it about a transaction.
replace 'logger.Errorf("start server err: %v", err)' 'logger.FatalIfError(err)'
printf '%s\n' "$source" >"$server"

cp go.mod "$copy/our.mod"
cp go.sum "$copy/our.sum"
go mod edit -replace "github.com/dtm-labs/dtm=$copy" "$copy/our.mod"
go build -modfile "$copy/our.mod" -ldflags '-X main.hosts=patched' -o "$output" .
