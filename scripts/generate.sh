#!/usr/bin/env bash
# generate.sh regenerates all generated code from the protos and the SQL. It needs the tools in bin/: `make generate`.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$PWD/bin

(
  cd api
  paths=()
  for dir in */v1; do paths+=(--path "$dir"); done
  "$bin/buf" format -w "${paths[@]}"
  "$bin/buf" generate "${paths[@]}"
  "$bin/buf" generate --template ../gateway/openapi/buf.gen.yaml "${paths[@]}"
)
go run ./gateway/internal/openapi -in var/openapi/openapi.yaml -out gateway/openapi/openapi.yaml

for config in */sqlc.yaml; do
  (cd "$(dirname "$config")" && "$bin/sqlc" generate)
done
