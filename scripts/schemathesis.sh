#!/usr/bin/env bash
# schemathesis.sh ARGUMENT … runs schemathesis from an environment of its own in var/cache, which is created when it does not exist or
# tools/schemathesis/requirements.txt changed.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
requirements=$root/tools/schemathesis/requirements.txt
cache=$root/var/cache
env=$cache/schemathesis-$(sha256sum "$requirements" | cut -c 1-12)

make_env() {
  command -v python3 >/dev/null || { echo "python3 is missing: install Python 3.11 or newer" >&2; return 1; }
  if ! python3 -c 'import ensurepip' 2>/dev/null; then
    if [[ $EUID -ne 0 ]] || ! command -v apt-get >/dev/null; then
      echo "python3-venv is missing: sudo apt-get install python3-venv" >&2
      return 1
    fi
    apt-get -q -o DPkg::Lock::Timeout=120 update >&2
    DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=120 install -y --no-install-recommends python3-venv >&2
  fi
  rm -rf "$env"
  python3 -m venv "$env"
  "$env/bin/pip" install -q --no-deps --require-hashes --disable-pip-version-check -r "$requirements" >&2 || {
    echo "schemathesis could not be installed. If pip says that hashes do not match, do not trust where the packages come from (pip config list)" >&2
    return 1
  }
  touch "$env/ready"
}

mkdir -p "$cache"
(flock 9 && { [[ -e $env/ready ]] || make_env; }) 9>"$cache/schemathesis.lock"
exec "$env/bin/st" "$@"
