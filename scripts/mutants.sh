#!/usr/bin/env bash
# mutants.sh [NAME …] proves that the tests can fail: it applies each mutant of scripts/mutants to a copy of the tree, one at a time in each, and
# requires that the test it names turns red.
#
# A mutant is a patch with these lines on top:
#   test: the arguments of `go test`, from the root
#   red:  the test that must fail
#   in:   only for a module outside go.work: its folder, from which `go test` is run instead
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/goflags.sh
source scripts/mutant.sh
copies=$(mktemp -d)
trap 'rm -rf "$copies"' EXIT
deploy/rocketmq/fetch.sh

# More workers than processors: a run mostly waits for servers.
workers=4
for ((n = 0; n < workers; n++)); do
  copy=$copies/$n
  mkdir -p "$copy/bin"
  copy_tree "$copy"
  # These are not changed by mutants; programs of ours are built in the copy.
  [ -x bin/process-compose ] && ln -s "$PWD/bin/process-compose" "$copy/bin/process-compose"
  ln -s "$PWD/.cache" "$copy/.cache"
done

# judge COPY NAME applies a mutant, runs its test and prints the verdict; it fails when the mutant survives.
judge() {
  local copy=$1 name=$2 patch=$PWD/scripts/mutants/$2.patch test red in verdict rc=0
  [ -d "$copy" ] || { printf '%-32s %s\n' "$name" "NOT JUDGED: the mutant before it could not be taken back"; return 1; }
  test=$(header test "$patch")
  red=$(header red "$patch")
  in=$(header in "$patch")
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
  if (cd "$copy/$in" && { [[ -z $in ]] || export GOWORK=off; } && go test -count=1 -vet=off $test) >"$copy/out.txt" 2>&1; then
    verdict="SURVIVED: $test passes" rc=1
  elif grep -qF -- "--- FAIL: $red (" "$copy/out.txt"; then
    verdict="killed by $red"
  else
    verdict="SURVIVED: the run failed, but not $red:"$'\n'$(tail -n 20 "$copy/out.txt") rc=1
  fi
  printf '%-32s %s\n' "$name" "$verdict"
  (cd "$copy" && patch -sRp1 <"$patch") || rm -rf "$copy" # nothing is judged on top of another mutant
  return $rc
}

# Where a server cannot be started every test turns red.
(cd "$copies/0" && go test -count=1 -vet=off ./chassis/database ./chassis/mq/rocketmq ./gateway/internal/limit \
  -run '^(TestRetain|TestMetrics|TestBurstThenRefused)$') >"$copies/healthy.txt" 2>&1 ||
  { echo "the tests fail without a mutant:"; tail -n 20 "$copies/healthy.txt"; exit 1; }

names=("$@")
if [ ${#names[@]} -eq 0 ]; then
  # Those that bring up a stack or a broker come first, so that none of them runs alone at the end.
  long='^test: ./(e2e|deploy|chassis/mq|order/internal/(mysql|reconcile)|member|notify/internal/events) '
  mapfile -t names < <(
    for patch in scripts/mutants/*.patch; do
      grep -qE "$long" "$patch" && order=0 || order=1
      echo "$order $(basename -s .patch "$patch")"
    done | sort | cut -d ' ' -f 2
  )
fi
export copies
export -f judge header
printf '%s\n' "${names[@]}" | xargs -P "$workers" -I NAME --process-slot-var=SLOT \
  bash -c 'judge "$copies/$SLOT" NAME >"$copies/verdict.$SLOT" || { cp "$copies/verdict.$SLOT" "$copies/NAME.survived"; rc=1; }; cat "$copies/verdict.$SLOT"; exit "${rc:-0}"' ||
  { echo "not killed:"; cat "$copies"/*.survived; exit 1; }
