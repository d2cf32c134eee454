#!/usr/bin/env bash
# verify.sh checks what no test does: format, vet, lint, generated code fresh, module files tidy, direction of imports, and that the
# pages name what is there. It needs the tools in bin/: `make verify`.
set -uo pipefail
cd "$(dirname "$0")/.."
failed=0

# check NAME COMMAND … shows one line, and what the command said when it failed.
check() {
  local name=$1 start=$EPOCHREALTIME mark=✓ said
  shift
  said=$("$@" 2>&1) || { mark=✗; failed=1; }
  printf '  %s %-28s %6.1f s\n' "$mark" "$name" "$(awk "BEGIN {print $EPOCHREALTIME - $start}")"
  [[ $mark == ✓ ]] || sed 's/^/      /' <<<"$said"
}

modules() { find . -name go.mod -not -path './tools/*' -not -path './bin/*' -not -path './var/*' -printf '%h\n' | sort; }

format() {
  local unformatted
  unformatted=$(gofmt -l $(modules))
  [[ -z $unformatted ]] || { echo "run gofmt -w on"; echo "$unformatted"; return 1; }
}

vet() {
  local rc=0
  for module in $(modules); do
    (cd "$module" && GOWORK=off go vet ./...) || rc=1
  done
  return $rc
}

lint() { cd api && ../bin/buf lint && ../bin/buf format -d --exit-code $(printf -- '--path %s ' */v1); }

# fresh generates in a copy and compares with another one: the tree itself may change meanwhile.
fresh() {
  local copies
  copies=$(mktemp -d) && trap 'rm -rf "$copies"' RETURN
  mkdir "$copies/is"
  tar -c --exclude=./.git --exclude=./bin --exclude=./var . | tar -x -C "$copies/is" || return
  cp -r "$copies/is" "$copies/should"
  ln -s "$PWD/bin" "$copies/should/bin"
  "$copies/should/scripts/generate.sh" || return
  (cd "$copies" && diff -r --brief -x bin -x var is should) || { echo "run make generate"; return 1; }
}

tidy() {
  local rc=0
  for module in $(modules); do
    (cd "$module" && GOWORK=off go mod tidy -diff >/dev/null) || { echo "in $module: GOWORK=off go mod tidy"; rc=1; }
  done
  return $rc
}

check "format" format
check "vet" vet
check "lint of the protos" lint
check "generated code is fresh" fresh
check "module files are tidy" tidy
check "direction of imports" scripts/imports.sh
check "pages name what is there" scripts/docs.sh
exit $failed
