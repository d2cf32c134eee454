# The images of MariaDB, Redis and RocketMQ: Debian with its packages, and RocketMQ's jars from Maven's repository. The context is the root of the
# repository.

FROM debian:bookworm-slim AS mariadb
RUN groupadd --gid 999 mysql && useradd --uid 999 --gid mysql --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin mysql \
 && printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d \
 && apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends 'mariadb-server=1:10.11.*' \
 && rm -rf /var/lib/apt/lists/* /var/lib/mysql && install -d -o mysql -g mysql /var/lib/mysql /run/mysqld
COPY deploy/compose/mariadb.sh /
USER mysql
ENTRYPOINT ["/mariadb.sh"]

FROM debian:bookworm-slim AS redis
RUN groupadd --gid 998 redis && useradd --uid 998 --gid redis --no-create-home --home-dir /data --shell /usr/sbin/nologin redis \
 && apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends 'redis-server=5:7.0.*' \
 && rm -rf /var/lib/apt/lists/* && install -d -o redis -g redis /data
USER redis
WORKDIR /data
ENTRYPOINT ["redis-server"]

FROM debian:bookworm-slim AS java
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends openjdk-17-jre-headless \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 997 rocketmq && useradd --uid 997 --gid rocketmq --no-create-home --home-dir /data --shell /usr/sbin/nologin rocketmq \
 && install -d -o rocketmq -g rocketmq /data
COPY deploy/rocketmq/java.options deploy/rocketmq/logback.xml deploy/rocketmq/*.conf \
  deploy/compose/rocketmq.sh /opt/rocketmq/
USER rocketmq
ENTRYPOINT ["/opt/rocketmq/rocketmq.sh"]

FROM java AS rocketmq-prebuilt
COPY .cache/rocketmq-5.3.3/lib /opt/rocketmq/lib
COPY .cache/rocketmq-5.3.3/classes /opt/rocketmq/classes
COPY .cache/rocketmq-5.3.3/classes.ha /opt/rocketmq/classes.ha

FROM debian:bookworm-slim AS jars
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends openjdk-17-jdk-headless maven
COPY deploy/rocketmq /src/deploy/rocketmq
RUN /src/deploy/rocketmq/fetch.sh

FROM java AS rocketmq-compiled
COPY --from=jars /src/.cache/rocketmq-5.3.3/lib /opt/rocketmq/lib
COPY --from=jars /src/.cache/rocketmq-5.3.3/classes /opt/rocketmq/classes
COPY --from=jars /src/.cache/rocketmq-5.3.3/classes.ha /opt/rocketmq/classes.ha
