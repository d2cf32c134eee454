module example.com/fourfold/deploy/local

go 1.26.0

require (
	example.com/fourfold/chassis v0.0.0
	github.com/go-sql-driver/mysql v1.10.1
	github.com/redis/go-redis/v9 v9.17.3
	github.com/stretchr/testify v1.12.1
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/dgryski/go-rendezvous v0.0.0-20200823014737-9f7001d12a5f // indirect
)

require (
	example.com/fourfold/deploy/rocketmq v0.0.0
	filippo.io/edwards25519 v1.2.0 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
)

replace (
	example.com/fourfold/api => ../../api
	example.com/fourfold/chassis => ../../chassis
)

replace example.com/fourfold/deploy/rocketmq => ../rocketmq
