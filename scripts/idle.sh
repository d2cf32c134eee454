#!/usr/bin/env bash
# idle.sh [SECONDS] [DATA] shows the processor time that each process of the stack in DATA (var) takes within SECONDS (60), and that of programs
# that process-compose starts, for example probes. On a stack that is not used this is the cost of running it.
set -euo pipefail
seconds=${1:-60} data=$(realpath "${2:-$(dirname "$0")/../var}")

# One line per process: its id, its name, and the time that it and that its ended children took, in hundredths of a second.
sample() {
  local environ pid name
  for environ in /proc/[0-9]*/environ; do
    pid=${environ//[!0-9]/}
    tr '\0' '\n' <"$environ" 2>/dev/null | grep -qxF "FOURFOLD_DATA=$data" || continue
    name=$(tr '\0' '\n' <"$environ" | sed -n 's/^PC_PROC_NAME=//p') || continue
    # After the program's name, which may hold spaces, utime, stime, cutime and cstime are the 12th to 15th field.
    sed 's/.*) //' "/proc/$pid/stat" | awk -v pid="$pid" -v name="${name:-process-compose}" '{print pid, name, $12 + $13, $14 + $15}'
  done 2>/dev/null
}

before=$(sample)
[[ -n $before ]] || { echo "no stack runs in $data: make up" >&2; exit 1; }
sleep "$seconds"
after=$(sample)
awk -v hz="$(getconf CLK_TCK)" '
  FNR == NR { own[$1] = $3; children[$1] = $4; next }
  $1 in own { printf "%8.2f  %s\n", ($3 - own[$1]) / hz, $2; sum += $3 - own[$1]
    if ($4 > children[$1]) { printf "%8.2f  %s\n", ($4 - children[$1]) / hz, "started by " $2; sum += $4 - children[$1] } }
  END { printf "%8.2f  %s\n", sum / hz, "all" }' <(echo "$before") <(echo "$after") | sort -rn
