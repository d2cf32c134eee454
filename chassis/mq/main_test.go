package mq_test

import (
	"testing"

	"example.com/fourfold/chassis/database/mysqltest"
)

func TestMain(m *testing.M) { mysqltest.Main(m) }
