module example.com/fourfold/e2e

go 1.26.0

require (
	example.com/fourfold/deploy/local v0.0.0
	github.com/go-sql-driver/mysql v1.10.1
	github.com/stretchr/testify v1.12.1
	go.yaml.in/yaml/v3 v3.0.5
)

require filippo.io/edwards25519 v1.2.0 // indirect

replace (
	example.com/fourfold/api => ../api
	example.com/fourfold/chassis => ../chassis
	example.com/fourfold/deploy/local => ../deploy/local
)

exclude github.com/dtm-labs/client v1.18.7
