#!/usr/bin/env bash
# test.sh runs the system in containers for real: `make test-compose`. It starts a Docker engine of its own where none answers (root, Debian), and
# stops it again. Without an image registry it makes the base image from Debian's packages.
set -euo pipefail
cd "$(dirname "$0")/../.."
say() { printf '  %s\n' "$*"; }

if ! docker version >/dev/null 2>&1; then
  if ! command -v dockerd >/dev/null; then
    [[ $EUID == 0 ]] || { echo "no Docker engine answers, and only root can install one: sudo apt-get install docker.io iptables" >&2; exit 1; }
    say "installing Docker"
    policy=/usr/sbin/policy-rc.d # the engine of the system is not started
    [[ -e $policy ]] || { printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy && own_policy=$policy; }
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends docker.io iptables >/dev/null
    rm -f ${own_policy:+"$own_policy"}
  fi
  engine=$(mktemp -d) pid=
  # The engine lets nothing be forwarded any more, and leaves it so.
  forward=$({ iptables -S FORWARD || true; } 2>/dev/null | head -n 1)
  ended() {
    [[ -z $pid ]] || { kill "$pid" || true; wait "$pid" || true; } 2>/dev/null
    [[ $forward != *ACCEPT ]] || iptables -P FORWARD ACCEPT
    rm -rf "$engine"
  }
  trap ended EXIT
  say "starting a Docker engine in $engine"
  dockerd --data-root "$engine/data" --exec-root "$engine/exec" --host "unix://$engine/docker.sock" --pidfile "$engine/pid" >"$engine/log" 2>&1 &
  pid=$!
  export DOCKER_HOST=unix://$engine/docker.sock
  for ((i = 0; i < 100; i++)); do docker version >/dev/null 2>&1 && break; sleep 0.1; done
  docker version >/dev/null || { tail -n 20 "$engine/log" >&2; exit 1; }
fi

base=debian:bookworm-slim
if ! docker image inspect $base >/dev/null 2>&1 && ! docker pull -q $base >/dev/null 2>&1; then
  say "no image registry: $base is made from Debian's packages"
  command -v debootstrap >/dev/null || DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap >/dev/null
  root=$(mktemp -d)
  debootstrap --variant=minbase bookworm "$root" >"$root.log" || { tail -n 20 "$root.log" >&2; exit 1; }
  tar -C "$root" -c . | docker import -c 'CMD ["bash"]' - $base >/dev/null
  rm -rf "$root" "$root.log"
fi
if ! docker compose version >/dev/null 2>&1 && [[ ! -x bin/docker-compose ]]; then
  say "building Docker Compose, some minutes"
  scripts/tool.sh docker-compose
fi
scripts/deploy.sh images
go test -tags compose -count=1 -v -timeout 20m ./deploy/compose
