#!/usr/bin/env bash
# mariadb.sh makes the data folder once and becomes the server. root is the account mysql: it has no password, and comes over the socket only.
set -euo pipefail
data=/var/lib/mysql/data
if [[ ! -d $data ]]; then
  rm -rf "$data.new"
  mariadb-install-db --no-defaults --user=mysql --datadir="$data.new" --auth-root-authentication-method=socket --auth-root-socket-user=mysql \
    --skip-test-db >/dev/null
  mv "$data.new" "$data"
fi
exec mariadbd --no-defaults --datadir="$data" --socket=/run/mysqld/mysqld.sock --tmpdir=/tmp \
  --skip-name-resolve --skip-log-bin --character-set-server=utf8mb4 --max-connections=500 --innodb-buffer-pool-size=128M \
  --innodb-log-file-size=64M --innodb-flush-log-at-trx-commit=1 --performance-schema=OFF "$@"
