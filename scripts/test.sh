#!/usr/bin/env bash
# test.sh runs all tests: those of each part and of the coordinator, then the end-to-end tests. They wait for servers more than they compute, so
# more of them run at a time than there are processors; tests that start many servers do not all begin at the same time. The end-to-end tests are
# two halves that take equally long: those that bring up a shop of their own, and those that share one.
set -uo pipefail
cd "$(dirname "$0")/.."
source scripts/goflags.sh
scripts/deploy.sh install || exit

own='^(TestMessages|TestDatabaseUnreachable|TestTwoOfEach|TestBrokerAway)$'
parts=$(go list -m -f '{{.Dir}}/...' | grep -v '/e2e/\.\.\.$')

# Everything is compiled once before: two go commands at a time would compile the same packages twice.
# shellcheck disable=SC2086 # packages
go list -export -test -deps -f '' $parts ./e2e/... || exit
(cd deploy/dtm && GOWORK=off go list -export -test -deps -f '' ./...) || exit
# What was compiled is written to the disk now, not while databases that begin wait for it.
sync

failed=0
# together COMMAND … runs the commands at the same time and waits for all of them.
together() {
  local pids=() pid command
  for command; do
    eval "$command" & pids+=($!)
  done
  for pid in "${pids[@]}"; do
    wait "$pid" || failed=1
  done
}

# What takes longest is named first, so that it begins first. The outages of e2e/outage need no stack, and are here because the other end-to-end
# tests leave no processor free.
together "go test -count=1 -timeout 30m -p 3 ./deploy/local/... ./deploy/demo ./e2e/outage $(tr '\n' ' ' <<<"$parts")" \
  "cd deploy/dtm && GOWORK=off go test -count=1 -timeout 30m ./..."
together "go test -count=1 -timeout 30m \$(go list ./e2e/... | grep -v '/outage\$') -skip '$own'" "go test -count=1 -timeout 30m ./e2e -run '$own'"
exit $failed
