package memory_test

import (
	"testing"

	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/memory"
	"example.com/fourfold/chassis/mq/mqlaws"
)

func TestMain(m *testing.M) { mysqltest.Main(m) }

func TestLaws(t *testing.T) {
	t.Parallel()
	mqlaws.Run(t, func(*testing.T) (mq.Transport, string) { return memory.New(), "things" })
}
