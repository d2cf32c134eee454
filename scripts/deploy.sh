#!/usr/bin/env bash
# deploy.sh COMMAND … builds bin/deploy and runs it: see deploy/README.md.
set -euo pipefail
cd "$(dirname "$0")/.."

need=$(awk '$1 == "go" {print $2}' go.work)
have=$(go env GOVERSION 2>/dev/null) || have=
have=${have#go}
if [[ $(printf '%s\n' "$need" "${have:-0}" | sort -V | head -n 1) != "$need" ]]; then
  printf '\n  Go %s or newer is needed and %s: install it from https://go.dev/dl and try again.\n\n' \
    "$need" "${have:+this is Go }${have:-there is none}" >&2
  exit 1
fi
GOWORK=off CGO_ENABLED=0 go build -C deploy -buildvcs=false -o ../bin/ .
exec bin/deploy "$@"
