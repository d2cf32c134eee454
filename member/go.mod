module example.com/fourfold/member

go 1.26.0

require (
	example.com/fourfold/api v0.0.0
	example.com/fourfold/chassis v0.0.0
)

replace (
	example.com/fourfold/api => ../api
	example.com/fourfold/chassis => ../chassis
)

exclude github.com/dtm-labs/client v1.18.7
