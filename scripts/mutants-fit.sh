#!/usr/bin/env bash
# mutants-fit.sh checks that every mutant of scripts/mutants applies to the tree, compiles, and names an existing test. It takes seconds, while
# mutants.sh would find that out only by running tests. Mutants of different lines are compiled together.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/goflags.sh
source scripts/mutant.sh
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
copy_tree "$copy"
failed=0

# compiles builds the packages that patches touch, each in its module, with GOWORK=off for modules outside go.work.
compiles() {
  local in dirs
  for in in . $(cat "$@" | sed -n 's/^in: *//p' | sort -u); do
    dirs=$(for patch; do
      [[ $(header in "$patch") == "${in#.}" ]] || continue
      sed -n 's#^+++ b/##p' "$patch" | grep '\.go$' | xargs -r -n1 dirname |
        grep -v '^deploy/dtm/dtmsvr$' # a part of DTM's own package: only deploy/dtm/build.sh can compile it
    done | sort -u)
    [[ -n $dirs ]] || continue
    (cd "$copy/$in" && { [[ $in == . ]] || export GOWORK=off; } &&
      go build $(for dir in $dirs; do realpath --relative-to=. "$copy/$dir" | sed 's#^#./#'; done)) || return
  done
}

rest=(scripts/mutants/*.patch)
for patch in "${rest[@]}"; do
  name=$(basename -s .patch "$patch") in=$(header in "$patch")
  red=$(header red "$patch") folder=$(sed -nE 's#^test: (.* )?(\.[^ ]*).*#\2#p' "$patch")
  if [[ -z $red || -z $folder ]]; then
    echo "$name: it needs its lines test: and red:" && failed=1
  elif ! grep -qsE "func ${red%%/*}\(" "./$in/$folder"/*_test.go; then
    echo "$name: there is no test ${red%%/*} in $folder" && failed=1
  fi
done
while [ ${#rest[@]} -gt 0 ]; do
  round=() later=()
  for patch in "${rest[@]}"; do
    if (cd "$copy" && patch -sp1 --dry-run) <"$patch" >/dev/null; then
      (cd "$copy" && patch -sp1) <"$patch"
      round+=("$patch")
    else
      later+=("$patch")
    fi
  done
  if [ ${#round[@]} -eq 0 ]; then
    printf '%s does not apply: the code has changed, make the patch anew\n' "${later[@]}" && exit 1
  fi
  if ! said=$(compiles "${round[@]}" 2>&1); then
    printf '%s\n' "of ${#round[@]} mutants at a time one does not compile:" "$said" && failed=1
  fi
  for ((n = ${#round[@]} - 1; n >= 0; n--)); do # the last one first: mutants of neighboring lines have each other in their context
    (cd "$copy" && patch -sRp1) <"${round[n]}"
  done
  rest=("${later[@]}")
done
exit $failed
