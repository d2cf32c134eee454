#!/usr/bin/env bash
# images.sh builds all images of compose.yaml from the programs in bin/ and RocketMQ's jars in .cache/, without compiling in containers: the same
# images as `docker compose build` makes, in a tenth of the time where the programs are there.
set -euo pipefail
cd "$(dirname "$0")/../.."

# build IMAGE DOCKERFILE TARGET SERVICE FILE … sends only FILEs as the context.
build() {
  local image=$1 file=deploy/compose/$2 target=$3 service=$4 said
  shift 4
  printf '  %s\n' "$image"
  said=$(tar -c "$file" "$@" | docker build --tag "$image" --file "$file" --target "$target" ${service:+--build-arg "SERVICE=$service"} - 2>&1) ||
    { tail -n 30 <<<"$said" >&2; exit 1; }
}
for service in order inventory credit wms member notify gateway dtm; do
  build "fourfold/$service" Dockerfile prebuilt "$service" "bin/$service"
done
build fourfold/jobs Dockerfile jobs-prebuilt jobs bin/jobs bin/topics bin/member bin/credit
scripts=(deploy/compose/mariadb.sh deploy/compose/rocketmq.sh deploy/rocketmq)
build fourfold/mariadb:10.11 infrastructure.Dockerfile mariadb '' "${scripts[@]}"
build fourfold/redis:7.0 infrastructure.Dockerfile redis '' "${scripts[@]}"
build fourfold/rocketmq:5.3.3 infrastructure.Dockerfile rocketmq-prebuilt '' "${scripts[@]}" .cache/rocketmq-5.3.3/{lib,classes,classes.ha}
