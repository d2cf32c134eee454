module example.com/fourfold/deploy/dtm

go 1.26

require github.com/dtm-labs/dtm v1.19.0
