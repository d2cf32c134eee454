# shellcheck shell=bash
# mutant.sh is what mutants.sh and mutants-fit.sh share. A mutant is a patch with lines on top: see mutants.sh.

# header NAME PATCH prints what PATCH says after "NAME:".
header() { sed -n "s/^$1: *//p" "$2"; }

# copy_tree DIR copies the files of the tree, committed or not, but none that is deleted.
copy_tree() {
  git ls-files -co --exclude-standard -z | while IFS= read -rd '' file; do
    [ ! -e "$file" ] || printf '%s\0' "$file"
  done | xargs -0 cp --parents -t "$1"
}
