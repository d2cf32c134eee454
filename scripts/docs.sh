#!/usr/bin/env bash
# docs.sh fails when a page (any *.md of ours) names something that does not exist:
#   - a relative link: the file, and the heading after #;
#   - a test or benchmark; in a row | `TestX` | `./folder` |, one of that folder;
#   - `make x`: a target;
#   - law `X`, laws `X`, `Y` and `Z`: of chassis/tcc/tcclaws or chassis/mq/mqlaws;
#   - mutant `x`, mutants `x`, `y` and `z-*`: of scripts/mutants. The page must also name the test that the mutant turns red.
set -euo pipefail
cd "$(dirname "$0")/.."

# ours PATTERN … prints the files that are in the repository or will be.
ours() {
  git ls-files -co --exclude-standard -- "$@" | sort -u | while read -r file; do
    [[ ! -e $file ]] || printf '%s\n' "$file"
  done
}

declare -A count=([links]=0 [tests]=0 [rows]=0 [targets]=0 [laws]=0 [mutants]=0)
failed=0
wrong() { # PAGE WHAT
  printf '%s: %s\n' "$1" "$2"
  failed=1
}

# "./folder TestX", one per line.
tests=$(ours '*_test.go' | xargs grep -HoE '^func (Test|Benchmark)[A-Z][A-Za-z0-9_]*' | sed -E 's#^([^:]*)/[^/:]*:func #./\1 #')

# anchors PAGE prints its headings as links name them. Letters outside ASCII are left out, here and in link.
anchors() { sed '/^```/,/^```/d' "$1" | sed -nE 's/^#+ +//p' | slug; }
slug() { LC_ALL=C tr '[:upper:]' '[:lower:]' | LC_ALL=C sed 's/[^a-z0-9 _-]//g; s/ /-/g'; }

link() { # PAGE LINK
  local file=${2%%#*} anchor=
  [[ $2 != *#* ]] || anchor=$(slug <<<"${2#*#}")
  file=${file:+$(dirname "$1")/$file}
  file=${file:-$1}
  if [[ ! -e $file ]]; then
    wrong "$1" "the link ($2) leads nowhere"
  elif [[ -n $anchor && $file == *.md ]] && ! grep -qxF -- "$anchor" <<<"$(anchors "$file")"; then
    wrong "$1" "the link ($2) leads to no heading of $file"
  fi
}

# listed WORD prints the names in "WORD `a`", "WORDs `a`, `b` and `c`".
listed() { grep -oE "$1s? \`[A-Za-z0-9*-]+\`((,|,? and) \`[A-Za-z0-9*-]+\`)*" | grep -oE '`[^`]+`' | tr -d '`' | sort -u; }

mutant() { # PAGE NAME
  local patches red
  mapfile -t patches < <(compgen -G "scripts/mutants/$2.patch")
  if [[ ${#patches[@]} -eq 0 ]]; then
    wrong "$1" "there is no mutant $2 in scripts/mutants"
    return
  fi
  for patch in "${patches[@]}"; do
    red=$(sed -nE 's#^red: ([A-Za-z0-9_]+).*#\1#p' "$patch")
    grep -qE "\b$red\b" "$1" || wrong "$1" "names the mutant $(basename "$patch" .patch) and not $red, which it turns red"
  done
}

while read -r page; do
  while read -r target; do
    count[links]=$((count[links] + 1))
    link "$page" "$target"
  done < <(sed '/^```/,/^```/d' "$page" | grep -oE '\]\([^)[:space:]]+\)' | sed -E 's/^\]\(//; s/\)$//' | grep -vE '^[a-z]+:')

  while read -r name; do
    count[tests]=$((count[tests] + 1))
    grep -q " $name\$" <<<"$tests" || wrong "$page" "there is no $name"
  done < <(grep -oE '\b(Test|Benchmark)[A-Z][A-Za-z0-9_]*' "$page" | sort -u)

  while read -r name folder; do
    count[rows]=$((count[rows] + 1))
    grep -qxF "$folder $name" <<<"$tests" || wrong "$page" "there is no $name in $folder"
  done < <(sed -nE 's#^\| `((Test|Benchmark)[A-Za-z0-9_]+)(/[^`]*)?` \| `(\./[^` ]*)` \|.*#\1 \4#p' "$page")

  while read -r row; do
    wrong "$page" "this row names no folder: $row"
  done < <(grep -E '^\| `(Test|Benchmark)' "$page" | grep -vE '^\| `(Test|Benchmark)[A-Za-z0-9_/]+` \| `\./[^` ]*` \|')

  while read -r target; do
    count[targets]=$((count[targets] + 1))
    grep -qE "^[a-z %/-]*\b$target\b[a-z %/-]*:" Makefile || wrong "$page" "there is no make $target"
  done < <(grep -oE '`make [a-z][a-z-]*' "$page" | sed 's/^`make //' | sort -u)

  text=$(tr '\n' ' ' <"$page" | tr -s ' ')
  while read -r name; do
    count[laws]=$((count[laws] + 1))
    grep -qE "\"$name\"[:,]" chassis/tcc/tcclaws/*.go chassis/mq/mqlaws/*.go || wrong "$page" "there is no law $name"
  done < <(listed law <<<"$text")
  while read -r name; do
    count[mutants]=$((count[mutants] + 1))
    mutant "$page" "$name"
  done < <(listed mutant <<<"$text")
done < <(ours '*.md')

# A pattern above that no longer finds anything would pass everything.
for kind in "${!count[@]}"; do
  [[ ${count[$kind]} -gt 0 ]] || wrong docs.sh "has found no $kind: correct it"
done
exit $failed
