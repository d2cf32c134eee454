#!/usr/bin/env bash
# tool.sh NAME builds bin/NAME from the exact version in tools/NAME/go.mod. Each tool has a module of its own, because their requirements
# conflict.
set -euo pipefail
[[ $# -eq 1 && -f $(dirname "$0")/../tools/$1/go.mod ]] || { echo "usage: $0 NAME, a folder of tools/" >&2; exit 2; }
cd "$(dirname "$0")/../tools/$1"
package=$(awk '$1 == "tool" {print $2}' go.mod)
GOWORK=off CGO_ENABLED=0 go build -buildvcs=false -ldflags="-s -w" -o "../../bin/$1" "$package"
