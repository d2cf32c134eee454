#!/usr/bin/env bash
# Proves that the tests can fail: applies each mutant of scripts/mutants to a copy of the tree, one at a time in each, and
# demands that the test it names turns red. Usage: scripts/mutants.sh [NAME …]
#
# A mutant is a patch with these lines on top:
#   test: what to hand to `go test`, from the root
#   red:  the test that must fail
#   in:   only for a module outside of go.work: its folder, from which `go test` is run instead
set -euo pipefail
cd "$(dirname "$0")/.."
copies=$(mktemp -d)
trap 'rm -rf "$copies"' EXIT
deploy/rocketmq/fetch.sh

# Two at a time: most of a run is waiting for servers.
workers=2
for ((n = 0; n < workers; n++)); do
  copy=$copies/$n
  mkdir -p "$copy/bin"
  # A file that is deleted but not committed is listed too.
  git ls-files -co --exclude-standard -z | while IFS= read -rd '' file; do
    [ ! -e "$file" ] || printf '%s\0' "$file"
  done | xargs -0 cp --parents -t "$copy"
  # What the mutants do not change; their own programs are built in the copy.
  [ -x bin/process-compose ] && ln -s "$PWD/bin/process-compose" "$copy/bin/process-compose"
  ln -s "$PWD/.cache" "$copy/.cache"
done

# judge COPY NAME applies a mutant, runs its test and says what came of it; it fails when the mutant lives.
judge() {
  local copy=$1 name=$2 patch=$PWD/scripts/mutants/$2.patch test red in verdict rc=0
  test=$(sed -n 's/^test: //p' "$patch")
  red=$(sed -n 's/^red: //p' "$patch")
  in=$(sed -n 's/^in: *//p' "$patch")
  if [[ -z $test || -z $red ]]; then
    printf '%-32s %s\n' "$name" "NOT A MUTANT: it needs its lines test: and red:"
    return 1
  fi
  if ! (cd "$copy" && patch -sp1 --dry-run <"$patch" >/dev/null); then
    printf '%-32s %s\n' "$name" "DOES NOT APPLY: the code has changed, make the patch anew"
    return 1
  fi
  (cd "$copy" && patch -sp1 <"$patch")
  # shellcheck disable=SC2086 # the test line holds several words
  if (cd "$copy/$in" && { [[ -z $in ]] || export GOWORK=off; } && go test -count=1 $test) >"$copy/out.txt" 2>&1; then
    verdict="SURVIVED: $test passes" rc=1
  elif grep -qF -- "--- FAIL: $red (" "$copy/out.txt"; then
    verdict="killed by $red"
  else
    verdict="SURVIVED: the run failed, but not $red:"$'\n'$(tail -n 20 "$copy/out.txt") rc=1
  fi
  printf '%-32s %s\n' "$name" "$verdict"
  (cd "$copy" && patch -sRp1 <"$patch")
  return $rc
}

names=("$@")
[ ${#names[@]} -gt 0 ] || mapfile -t names < <(basename -s .patch scripts/mutants/*.patch)
pids=()
for ((n = 0; n < workers; n++)); do
  (
    rc=0
    for ((i = n; i < ${#names[@]}; i += workers)); do
      judge "$copies/$n" "${names[i]}" || rc=1
    done
    exit $rc
  ) &
  pids+=($!)
done
survived=0
for pid in "${pids[@]}"; do
  wait "$pid" || survived=1
done
exit $survived
