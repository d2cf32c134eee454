#!/usr/bin/env bash
# licences.sh fails when the work of others is in the repository without its licence, or when NOTICE does not list it:
#   - each folder of api/third_party, each that .gitattributes calls linguist-vendored, and each with a licence in it has its line in
#     NOTICE, "- FOLDER: WHAT; LICENCE, FILE", where FILE is in the folder and has the text of that licence;
#   - NOTICE has no other lines of that form;
#   - a file with a copyright in it is in one of these folders.
set -euo pipefail
cd "$(dirname "$0")/.."
files=$(git ls-files -co --exclude-standard | while read -r file; do [[ ! -e $file ]] || printf '%s\n' "$file"; done)
failed=0
wrong() { echo "$1"; failed=1; }

declare -A words=([Apache-2.0]="Apache License" [MIT]="MIT License" [BSD-3-Clause]="BSD 3-Clause License")
declare -A noticed=()
while read -r folder licence file; do
  noticed[$folder]=1
  grep -q "^$folder/" <<<"$files" || wrong "NOTICE names $folder, and nothing is there"
  [[ $file == "$folder"/* && -s $file ]] || wrong "$folder: the text of its licence is not there: $file"
  grep -qs "${words[$licence]:-no such licence}" "$file" || wrong "$folder: $file is not $licence"
done < <(sed -nE 's/^- ([^ :]+): .*; ([^ ]+), ([^ ]+)$/\1 \2 \3/p' NOTICE)
[[ ${#noticed[@]} -gt 0 ]] || wrong "licences.sh has found no lines in NOTICE: correct it"

while read -r folder; do
  [[ -n ${noticed[$folder]:-} ]] || wrong "$folder is of others, and NOTICE has no line for it"
done < <({
  sed -nE 's#^(api/third_party/[^/]+)/.*#\1#p' <<<"$files"
  git check-attr --stdin linguist-vendored <<<"$files" | sed -nE 's#/[^/]*: linguist-vendored: (set|true)$##p'
  sed -nE 's#/(LICEN[CS]E|COPYING)[^/]*$##p' <<<"$files"
} | sort -u)

while read -r file; do
  for folder in "${!noticed[@]}"; do [[ $file != "$folder"/* ]] || continue 2; done
  wrong "$file has a copyright in it, and NOTICE has no line for its folder"
done < <(xargs -d '\n' grep -liIE 'copyright (\(c\)|©|[0-9]{4}|the .* authors)|SPDX-License-Identifie[r]' <<<"$files" | grep -vxE 'LICENSE|NOTICE')
exit $failed
