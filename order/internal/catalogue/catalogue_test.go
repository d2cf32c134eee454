package catalogue_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventv1 "example.com/fourfold/api/event/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/deploy/rocketmq/rocketmqtest"
	"example.com/fourfold/order/internal/catalogue"
	"example.com/fourfold/order/internal/mysql"
	"example.com/fourfold/order/migrations"
)

func TestMain(m *testing.M) { rocketmqtest.Main(m) }

// changed returns an event that inventory publishes about a product.
func changed(t *testing.T, sku string, seq int64, name string, cents int64) mq.Event {
	t.Helper()
	data, err := mq.Data(&eventv1.ProductChanged{Sku: sku, Name: name, PriceCents: cents})
	require.NoError(t, err)
	return mq.Event{ID: mq.NewID(), Source: "/inventory", Type: eventv1.TypeProductChanged, Subject: sku, Sequence: seq, Time: time.Now(),
		Data: data}
}

const products = "SELECT sku, name, price_cents, version FROM product ORDER BY sku"

// of returns e as of that generation of inventory's database.
func of(generation string, e mq.Event) mq.Event {
	e.Generation = generation
	return e
}

// TestKeepsTheNewest delivers changes as the inbox may once it has forgotten what it has seen: older ones after newer ones, and of
// earlier generations after later ones.
func TestKeepsTheNewest(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, migrations.FS, mq.Tables())
	copied := catalogue.New(mysql.NewStore(db, mqtest.Absent(t, db, "order")))
	handle := func(e mq.Event) error {
		return database.InTx(t.Context(), db, func(tx *sql.Tx) error { return copied.Handle(t.Context(), tx, e) })
	}
	for _, step := range []struct {
		e    mq.Event
		want string
	}{
		{changed(t, "a", 2, "阿", 200), "a 阿 200 2\n"},
		{changed(t, "a", 1, "old", 100), "a 阿 200 2\n"},
		{changed(t, "a", 2, "the same again", 1), "a 阿 200 2\n"},
		{changed(t, "a", 5, "乙", 500), "a 乙 500 5\n"},
		{changed(t, "A", 1, "another", 1), "A another 1 1\na 乙 500 5\n"},
		{of("g1", changed(t, "A", 1, "of a restored database", 2)), "A of a restored database 2 1\na 乙 500 5\n"},
		{of("g1", changed(t, "A", 1, "the same again", 3)), "A of a restored database 2 1\na 乙 500 5\n"},
		{changed(t, "A", 2, "of before the restore", 4), "A of a restored database 2 1\na 乙 500 5\n"},
	} {
		require.NoError(t, handle(step.e))
		require.Equal(t, step.want+"--\n", mysqltest.Dump(t, db, products))
	}
	before := mysqltest.Dump(t, db, products)
	foreign := changed(t, "a", 9, "a", 1)
	foreign.Subject = "b"
	for _, e := range []mq.Event{foreign, changed(t, "a", 9, "free", 0), changed(t, "", 9, "nothing", 1), changed(t, "a", 0, "unnumbered", 1)} {
		require.Error(t, handle(e))
	}
	require.Equal(t, before, mysqltest.Dump(t, db, products))
}

// TestGenerations delivers changes of several generations of inventory's database: numbers begin at 1 in each, and a later generation is later
// whatever its numbers are.
func TestGenerations(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, migrations.FS, mq.Tables())
	copied := catalogue.New(mysql.NewStore(db, mqtest.Absent(t, db, "order")))
	second, third := mq.NewID(), mq.NewID()
	of := func(generation string, e mq.Event) mq.Event {
		e.Generation = generation
		return e
	}
	for _, step := range []struct {
		e    mq.Event
		want string
	}{
		{changed(t, "a", 7, "first", 700), "first 700 7 "},
		{of(second, changed(t, "a", 1, "second", 100)), "second 100 1 " + second},
		{changed(t, "a", 8, "late", 800), "second 100 1 " + second},
		{of(second, changed(t, "a", 1, "the same again", 1)), "second 100 1 " + second},
		{of(second, changed(t, "a", 3, "second", 300)), "second 300 3 " + second},
		{of(third, changed(t, "a", 1, "third", 10)), "third 10 1 " + third},
		{of(second, changed(t, "a", 4, "late", 400)), "third 10 1 " + third},
		{changed(t, "a", 99, "late", 99), "third 10 1 " + third},
	} {
		require.NoError(t, database.InTx(t.Context(), db, func(tx *sql.Tx) error { return copied.Handle(t.Context(), tx, step.e) }))
		require.Equal(t, step.want+"\n--\n", mysqltest.Dump(t, db, "SELECT name, price_cents, version, generation FROM product"))
	}
}

// TestFollows receives changes from the broker, out of order and twice, for many products at once.
func TestFollows(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, migrations.FS, mq.Tables())
	server := rocketmqtest.Shared(t)
	broker, s := server.Dial(t), catalogue.Subscription()
	s.Topic = server.Topic(t)
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() {
		stopped <- broker.Consume(ctx, db, s, catalogue.New(mysql.NewStore(db, mqtest.Absent(t, db, "order"))).Handle)
	}()
	t.Cleanup(func() {
		stop()
		assert.NoError(t, <-stopped)
	})
	for _, sku := range []string{"a", "b", "c"} {
		for _, seq := range []int64{1, 4, 2, 3, 4} {
			require.NoError(t, broker.Publish(ctx, s.Topic, changed(t, sku, seq, sku, 100*seq)))
		}
	}
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		assert.Equal(c, "a a 400 4\nb b 400 4\nc c 400 4\n--\n15\n--\n", mysqltest.Dump(t, db, products,
			"SELECT COUNT(*) FROM mq_inbox WHERE state IN ('DONE', 'OLD')"))
	}, 30*time.Second, 20*time.Millisecond)
}
