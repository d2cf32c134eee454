#!/usr/bin/env bash
# verify.sh checks what no test checks: format, vet, lint, that generated code is fresh and module files are tidy, the direction of imports, that
# mutants compile, that pages name only what exists, and that the work of others has its licence. `verify.sh quick` leaves out what takes long,
# and runs the tests that need no server. Both need the tools in bin/: `make verify`, `make check`.
set -uo pipefail
cd "$(dirname "$0")/.."
failed=0

# check NAME COMMAND … prints one line, and the command's output when it failed.
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

# lint checks the modules of the workspace together, so that shared packages are checked once.
lint() {
  local rc=0
  bin/golangci-lint run $(go list -m -f '{{.Dir}}/...') || rc=1
  (cd deploy/dtm && GOWORK=off ../../bin/golangci-lint run ./...) || rc=1
  return $rc
}

protos() { cd api && ../bin/buf lint && ../bin/buf format -d --exit-code $(printf -- '--path %s ' */v1); }

# fresh generates in a copy and compares it with another one: the tree itself may change meanwhile.
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

# alone runs the tests of the packages whose tests start no server (no database, broker or Redis) and no stack.
alone() {
  local packages
  packages=$(go list -test -f '{{range .Deps}}{{$.ImportPath}} {{.}}
{{end}}' $(go list -m -f '{{.Dir}}/...') | awk '
    $1 !~ /\.test$/ { next }
    { all[$1] = 1 }
    $2 ~ /\/(mysqltest|rocketmqtest|redistest|deploy\/local\/stack)$/ { serves[$1] = 1 }
    END { for (p in all) if (!(p in serves)) { sub(/\.test$/, "", p); print p } }') || return
  go test $packages
}

check "format" format
check "vet" vet
check "lint" lint
check "lint of the protos" protos
check "direction of imports" scripts/imports.sh
check "the chassis knows no shop" scripts/chassis.sh
check "mutants fit the code" scripts/mutants-fit.sh
check "pages name what is there" scripts/docs.sh
check "licences of others' work" scripts/licences.sh
case ${1:-} in
quick) check "tests without servers" alone ;;
*)
  check "generated code is fresh" fresh
  check "module files are tidy" tidy
  ;;
esac
exit $failed
