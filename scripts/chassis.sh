#!/usr/bin/env bash
# chassis.sh fails when the chassis speaks of the shop: of what its services sell, of its events or roles, or of where it is deployed. A team
# that takes the chassis gets no shop with it. Comments and tests may take the shop for an example.
set -euo pipefail
cd "$(dirname "$0")/.."
words='order_?id|ordersku|\bskus?\b|shopper|payment_|refund_|"(order|member|delivery|product|payment)\.[a-z]+"|"[^"]*deploy/|make (up|demo|test)'
files=$(git ls-files -co --exclude-standard 'chassis/*.go' 'chassis/*.sql' | grep -v '_test\.go$')
[ "$(wc -l <<<"$files")" -gt 50 ] || { echo "chassis.sh has found too few files: correct it"; exit 1; }
found=$(while read -r file; do
  [ ! -e "$file" ] || sed 's#^[[:space:]]*//.*##; s#[[:space:]]// .*##; s#^[[:space:]]*-- .*##' "$file" | { grep -niE "$words" || true; } | sed "s#^#$file:#"
done <<<"$files")
[ -z "$found" ] || { echo "what is the shop's does not belong into the chassis:"; echo "$found"; exit 1; }
