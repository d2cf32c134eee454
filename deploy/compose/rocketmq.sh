#!/usr/bin/env bash
# rocketmq.sh NAME fills in NAME's settings and becomes it: namesrv or broker. Each variable of its NAME.conf must be set, and with HA=true of its
# NAME.ha.conf, whose settings come last and win.
set -euo pipefail
name=$1
declare -A class=([namesrv]=namesrv.NamesrvStartup [broker]=broker.BrokerStartup) heap=([namesrv]=64m [broker]=256m)
text=$(</opt/rocketmq/"$name".conf) classes=classes # with the HA service of a broker without a replica
[[ ${HA:-} != true ]] || text+=$'\n'$(</opt/rocketmq/"$name".ha.conf) classes=classes.ha
for variable in $(grep -o '\${[A-Z_]*}' <<<"$text" | tr -d '${}' | sort -u); do
  text=${text//"\${$variable}"/"${!variable:?is not set}"}
done
printf '%s\n' "$text" >/tmp/"$name".conf
mapfile -t options < <(grep -v '^$' /opt/rocketmq/java.options)
cd /opt/rocketmq
exec java "${options[@]}" "-Xmx${heap[$name]}" -Duser.home=/data -Drocketmq.home.dir=/opt/rocketmq -Drmq.logback.configurationFile=/opt/rocketmq/logback.xml \
  -cp "$classes:lib/*" "org.apache.rocketmq.${class[$name]}" -c /tmp/"$name".conf
