#!/usr/bin/env bash
# size.sh counts the lines of Go by area, as a table in Markdown: code written by hand, tests (with the law suites and the packages that only
# tests import), and generated code. docs/size.md holds its output.
set -euo pipefail
cd "$(dirname "$0")/.."
git ls-files '*.go' | while read -r file; do
  kind=code
  case $file in
    *_test.go | *laws/*.go | *test/*.go | chassis/tied/*) kind=test ;;
  esac
  if head -n 3 "$file" | grep -q '^// Code generated'; then kind=generated; fi
  echo "$kind $(wc -l <"$file") $file"
done | awk '
  function area(path,  p, n) {
    n = split(path, p, "/")
    if (path ~ /^chassis\/mq\/rocketmq\//) return "chassis/mq/rocketmq"
    if (path ~ /^chassis\/mq\//) return "chassis/mq"
    if (p[1] == "deploy" && n > 2) return "deploy/" p[2]
    return p[1]
  }
  {
    a = area($3); lines[a, $1] += $2; all[$1] += $2; seen[a] = 1
    if ($1 == "code") { files++; size[files] = $2; if ($2 > longest) { longest = $2; where = $3 } }
  }
  END {
    print "| area | code | tests | generated |\n|---|---:|---:|---:|"
    n = 0; for (a in seen) names[++n] = a
    for (i = 1; i <= n; i++) for (j = i + 1; j <= n; j++) if (names[j] < names[i]) { t = names[i]; names[i] = names[j]; names[j] = t }
    for (i = 1; i <= n; i++)
      printf "| %s | %d | %d | %d |\n", names[i], lines[names[i], "code"], lines[names[i], "test"], lines[names[i], "generated"]
    printf "| **all** | %d | %d | %d |\n\n", all["code"], all["test"], all["generated"]
    for (i = 1; i <= files; i++) for (j = i + 1; j <= files; j++) if (size[j] < size[i]) { t = size[i]; size[i] = size[j]; size[j] = t }
    printf "%d files of code: median %d lines, 90 %% have at most %d, the longest %d (%s). Tests to code: %.2f.\n",
      files, size[int((files + 1) / 2)], size[int(files * 0.9)], longest, where, all["test"] / all["code"]
  }'
