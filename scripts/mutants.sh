#!/usr/bin/env bash
# Proves that the tests can fail: applies each mutant of scripts/mutants to a copy of the tree, one after another, and
# demands that the test it names turns red. Usage: scripts/mutants.sh [NAME …]
#
# A mutant is a patch with two lines on top:
#   test: what to hand to `go test`, from the root
#   red:  the test that must fail
set -euo pipefail
cd "$(dirname "$0")/.."
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
# A file that is deleted but not committed is listed too.
git ls-files -co --exclude-standard -z | while IFS= read -rd '' file; do
  [ ! -e "$file" ] || printf '%s\0' "$file"
done | xargs -0 cp --parents -t "$copy"
# What the mutants do not change; their own programs are built in the copy.
mkdir "$copy/bin"
[ -x bin/process-compose ] && ln -s "$PWD/bin/process-compose" "$copy/bin/process-compose"
deploy/rocketmq/fetch.sh
ln -s "$PWD/.cache" "$copy/.cache"

names=("$@")
[ ${#names[@]} -gt 0 ] || mapfile -t names < <(basename -s .patch scripts/mutants/*.patch)
survived=0
for name in "${names[@]}"; do
  patch=$PWD/scripts/mutants/$name.patch
  test=$(sed -n 's/^test: //p' "$patch")
  red=$(sed -n 's/^red: //p' "$patch")
  if [[ -z $test || -z $red ]]; then
    printf '%-32s %s\n' "$name" "NOT A MUTANT: it needs its lines test: and red:"
    survived=1
    continue
  fi
  if ! (cd "$copy" && patch -sp1 --dry-run <"$patch" >/dev/null); then
    printf '%-32s %s\n' "$name" "DOES NOT APPLY: the code has changed, make the patch anew"
    survived=1
    continue
  fi
  (cd "$copy" && patch -sp1 <"$patch")
  # shellcheck disable=SC2086 # the test line holds several words
  if (cd "$copy" && go test -count=1 $test) >"$copy/out.txt" 2>&1; then
    verdict="SURVIVED: $test passes"
  elif grep -qF -- "--- FAIL: $red (" "$copy/out.txt"; then
    verdict="killed by $red"
  else
    verdict="SURVIVED: the run failed, but not $red:"$'\n'$(tail -n 20 "$copy/out.txt")
  fi
  printf '%-32s %s\n' "$name" "$verdict"
  case $verdict in SURVIVED*) survived=1 ;; esac
  (cd "$copy" && patch -sRp1 <"$patch")
done
exit $survived
