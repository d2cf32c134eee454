#!/usr/bin/env bash
# fetch.sh fetches RocketMQ's jars from Maven's repository into .cache/rocketmq-5.3.3/lib, once, and compiles ha/ to classes/ next to it, and to
# classes.ha/ one class of RocketMQ's own, mended. It prints nothing when all is well, and refuses jars other than those in jars.sha256. Several may
# run at the same time.
#
# `fetch.sh renew` writes jars.sha256 instead, from what Maven brings: after a change of pom.xml, and to be read in the diff.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
home=$(realpath -m ../../.cache/rocketmq-5.3.3)
stamp=$(cat pom.xml jars.sha256 fetch.sh ha/* | sha256sum)
mkdir -p "$home"
exec 9>"$home/lock"
flock 9
[[ ${1:-} == renew || $(cat "$home/complete" 2>/dev/null) != "$stamp" ]] || exit 0

fail() { printf '%s\n%s\n' "$1" "$2" >&2; exit 1; }
command -v mvn >/dev/null || fail "RocketMQ comes from Maven's repository, and there is no Maven." "apt-get install maven"
command -v javac >/dev/null || fail "ha/NoHA.java is to be compiled, and there is no javac." "apt-get install openjdk-17-jdk-headless"

new=$(mktemp -d "$home/new.XXXXXX")
trap 'rm -rf "$new"' EXIT
store=org.apache.rocketmq:rocketmq-store:5.3.3:jar:sources
if ! timeout 600 mvn -q -B -C -f pom.xml dependency:copy-dependencies dependency:copy -Dartifact=$store -DoutputDirectory="$new/lib" >"$new/log" 2>&1; then
  tail -n 20 "$new/log" >&2
  fail "RocketMQ's jars could not be fetched." \
    "Is Maven's repository (or the mirror in ~/.m2/settings.xml) reachable? Then: deploy/rocketmq/fetch.sh"
fi
(cd "$new/lib" && LC_ALL=C sha256sum -b -- *.jar) >"$new/jars.sha256"
if [[ ${1:-} == renew ]]; then
  mv "$new/jars.sha256" .
  exit
fi
if ! differ=$(diff jars.sha256 "$new/jars.sha256"); then
  fail "These of RocketMQ's jars are not those in deploy/rocketmq/jars.sha256, and none is used:" \
    "$(sed -n 's/^< .*\*/  not as it should be, or missing: /p; s/^> .*\*/  what came: /p' <<<"$differ")
Remove them from ~/.m2/repository and run deploy/rocketmq/fetch.sh again. If they come again, do not trust where they come from (the mirror in
~/.m2/settings.xml?). Only after a change of pom.xml: deploy/rocketmq/fetch.sh renew"
fi
mkdir -p "$new/classes/META-INF/service"
javac -cp "$new/lib/*" -d "$new/classes" ha/NoHA.java
cp ha/org.apache.rocketmq.store.ha.HAService "$new/classes/META-INF/service/"
# A replica of 5.3.3 spins whenever the master has not confirmed the last message yet, which is always under load: its loop asks once whether there
# is more, and not again (rocketmq #9811).
name=org/apache/rocketmq/store/DefaultMessageStore.java
(cd "$new" && jar -xf lib/*-sources.jar $name && rm lib/*-sources.jar)
sed 's/= true; isCommitLogAvailable && doNext/= true; isCommitLogAvailable() \&\& doNext/' "$new/$name" >"$new/DefaultMessageStore.java"
[[ $(diff "$new/$name" "$new/DefaultMessageStore.java" | wc -l) == 4 ]] || fail "The loop in $name is not as it was." "See rocketmq #9811."
javac -nowarn -cp "$new/lib/*" -d "$new/classes.ha" "$new/DefaultMessageStore.java" 2>"$new/log" || fail "$name does not compile." "$(<"$new/log")"
rm -rf "$home/lib" "$home/classes" "$home/classes.ha"
mv "$new/lib" "$new/classes" "$new/classes.ha" "$home"
printf '%s' "$stamp" >"$home/complete"
