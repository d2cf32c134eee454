package mq_test

import (
	"testing"

	"example.com/fourfold/chassis/mq/mqtest"
)

func TestMain(m *testing.M) { mqtest.Main(m) }
