#!/usr/bin/env bash
# imports.sh fails when an import points the wrong way:
#   - chassis imports no service, nothing of deploy, and only the packages of api that are not about the shop; api imports nothing of
#     ours but itself;
#   - only chassis/mq/rocketmq and its tests import the broker's client;
#   - a service imports no other service, only api;
#   - the package with a service's rules imports only the standard library, and neither context nor SQL.
set -euo pipefail
cd "$(dirname "$0")/.."
prefix=$(cd api && GOWORK=off go list -m | sed 's#/api$##')
services=$(dirname -- */config.yaml)
ours="api/access api/alert api/branch api/idempotency api/ledger api/mq api/text" # the protos that belong to the chassis
# The package with a service's rules says so itself.
domains=$(grep -lE '^// Package [a-z]+ holds the rules of .*: no I/O\.$' ./*/internal/*/*.go | xargs -n 1 dirname | sed 's#^\./##' | sort -u)
[[ $(wc -l <<<"$domains") -ge 6 ]] || { echo "scripts/imports.sh finds no packages with rules: correct it" >&2; exit 1; }

for module in api chassis $services deploy e2e; do
  (cd "$module" && GOWORK=off go list -e -f '{{$p := .ImportPath}}{{range .Imports}}{{$p}} {{.}}
{{end}}{{range .TestImports}}{{$p}} {{.}} test
{{end}}{{range .XTestImports}}{{$p}} {{.}} test
{{end}}' ./...)
done | awk -v prefix="$prefix/" -v domains="${domains//$'\n'/ }" -v ours="$ours" '
  BEGIN {
    n = split(domains, d); for (i = 1; i <= n; i++) pure[prefix d[i]] = 1
    n = split(ours, o); for (i = 1; i <= n; i++) chassis_api[o[i]] = 1
  }
  NF < 2 { next }
  { seen[$1] = 1 }
  $2 ~ /\/rocketmq-client-go\// && $1 != prefix "chassis/mq/rocketmq" { wrong($1 " imports " $2 ": only chassis/mq/rocketmq knows the client") }
  NF == 3 || index($1, prefix "deploy/") == 1 || index($1, prefix "e2e") == 1 { next } # the rest is about what is built
  index($2, prefix) == 1 {
    split(substr($1, length(prefix) + 1), from, "/"); split(substr($2, length(prefix) + 1), to, "/")
    allowed = to[1] == from[1] || to[1] == "api" || to[1] == "chassis" && from[1] != "api"
    if (from[1] == "chassis" && to[1] == "api") allowed = (to[1] "/" to[2]) in chassis_api
    if (!allowed) wrong($1 " imports " $2)
  }
  $1 in pure && $2 != prefix "chassis/email" && ($2 ~ /^[^\/]*\./ || $2 == "context" || $2 ~ /^database\//) { wrong($1 " has rules only, and imports " $2) }
  function wrong(text) { print text; bad = 1 }
  END {
    for (p in pure) if (!(p in seen)) wrong("there is no package " p ": correct the list in scripts/imports.sh")
    exit bad
  }'
