#!/usr/bin/env bash
# mariadb.sh makes the data folder once and becomes the server. /secrets/init.sql has a database and a user for each service. root is the
# account mysql: it has no password, and comes over the socket only.
set -euo pipefail
if [[ ! -d /var/lib/mysql/mysql ]]; then
  mariadb-install-db --no-defaults --user=mysql --datadir=/var/lib/mysql --auth-root-authentication-method=socket --auth-root-socket-user=mysql \
    --skip-test-db >/dev/null
fi
exec mariadbd --no-defaults --datadir=/var/lib/mysql --socket=/run/mysqld/mysqld.sock --tmpdir=/tmp --init-file=/secrets/init.sql \
  --skip-name-resolve --skip-log-bin --character-set-server=utf8mb4 --max-connections=500 --innodb-buffer-pool-size=128M \
  --innodb-log-file-size=64M --innodb-flush-log-at-trx-commit=1 --performance-schema=OFF "$@"
