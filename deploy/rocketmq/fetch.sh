#!/usr/bin/env bash
# fetch.sh fetches RocketMQ's jars from Maven's repository into .cache/rocketmq-5.3.3/lib, once, and compiles ha/ to classes/ next to it. It
# prints nothing when all is well. Several may run at the same time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
home=$(realpath -m ../../.cache/rocketmq-5.3.3)
stamp=$(cat pom.xml ha/* | sha256sum)
mkdir -p "$home"
exec 9>"$home/lock"
flock 9
[[ $(cat "$home/complete" 2>/dev/null) != "$stamp" ]] || exit 0

fail() { printf '%s\n%s\n' "$1" "$2" >&2; exit 1; }
command -v mvn >/dev/null || fail "RocketMQ comes from Maven's repository, and there is no Maven." "apt-get install maven"
command -v javac >/dev/null || fail "ha/NoHA.java is to be compiled, and there is no javac." "apt-get install openjdk-17-jdk-headless"

new=$(mktemp -d "$home/new.XXXXXX")
trap 'rm -rf "$new"' EXIT
if ! timeout 600 mvn -q -B -f pom.xml dependency:copy-dependencies -DoutputDirectory="$new/lib" >"$new/log" 2>&1; then
  tail -n 20 "$new/log" >&2
  fail "RocketMQ's jars could not be fetched." \
    "Is Maven's repository (or the mirror in ~/.m2/settings.xml) reachable? Then: deploy/rocketmq/fetch.sh"
fi
mkdir -p "$new/classes/META-INF/service"
javac -cp "$new/lib/*" -d "$new/classes" ha/NoHA.java
cp ha/org.apache.rocketmq.store.ha.HAService "$new/classes/META-INF/service/"
rm -rf "$home/lib" "$home/classes"
mv "$new/lib" "$new/classes" "$home"
printf '%s' "$stamp" >"$home/complete"
