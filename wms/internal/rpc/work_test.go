package rpc_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventv1 "example.com/fourfold/api/event/v1"
	wmsv1 "example.com/fourfold/api/wms/v1"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/wms/internal/mysql"
	"example.com/fourfold/wms/internal/rpc"
	"example.com/fourfold/wms/migrations"
)

// work calls pick, ship or deliver.
func work(w *rpc.Warehouse, what, id string) (*wmsv1.Delivery, error) {
	ctx := context.Background()
	switch what {
	case "pick":
		return w.PickDelivery(ctx, &wmsv1.PickDeliveryRequest{Id: id})
	case "ship":
		return w.ShipDelivery(ctx, &wmsv1.ShipDeliveryRequest{Id: id})
	default:
		return w.CompleteDelivery(ctx, &wmsv1.CompleteDeliveryRequest{Id: id})
	}
}

const (
	statuses = "SELECT order_id, status, event_seq FROM delivery_slip ORDER BY order_id"
	events   = `SELECT subject, JSON_VALUE(CONVERT(event USING utf8mb4), '$.sequence'), JSON_VALUE(CONVERT(event USING utf8mb4), '$.type')
		FROM mq_outbox ORDER BY id`
)

// TestWork takes a slip all the way, each step twice: the second time the answer is the same and nothing is published again.
func TestWork(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, migrations.FS, mq.Tables())
	w := rpc.NewWarehouse(mysql.NewStore(db, mqtest.Absent(t, db, "wms")))
	at := time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC)
	id := insert(t, db, "order-1", "CREATED", at)
	insert(t, db, "order-2", "CREATED", at)
	told := ""
	for seq, step := range []struct{ what, status, event string }{
		{"pick", "PICKED", ""},
		{"ship", "SHIPPED", "order-1 1 delivery.shipped\n"},
		{"deliver", "DELIVERED", "order-1 2 delivery.delivered\n"},
	} {
		told += step.event
		var first *wmsv1.Delivery
		for range 2 {
			d, err := work(w, step.what, id)
			require.NoError(t, err, step.what)
			assert.Equal(t, step.status, d.GetStatus().String())
			assert.Equal(t, []string{id, "order-1", "1 Main Street, 杭州"}, []string{d.GetId(), d.GetOrderId(), d.GetAddress()})
			assert.Equal(t, at, d.GetCreatedAt().AsTime())
			require.Len(t, d.GetLines(), 2)
			if first != nil {
				assert.Equal(t, texts([]*wmsv1.Delivery{first}), texts([]*wmsv1.Delivery{d}))
			}
			first = d
			require.Equal(t, fmt.Sprintf("order-1 %s %d\norder-2 CREATED 0\n--\n%s--\n", step.status, seq, told),
				mysqltest.Dump(t, db, statuses, events))
		}
	}
}

// TestEveryStatusAndWork tests that work that the state table does not allow is 409 with the status, that UNKNOWN is 404, and that nothing
// changes then.
func TestEveryStatusAndWork(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, migrations.FS, mq.Tables())
	w := rpc.NewWarehouse(mysql.NewStore(db, mqtest.Absent(t, db, "wms")))
	leadsTo := map[string]map[string]string{
		"pick":    {"CREATED": "PICKED", "PICKED": "PICKED"},
		"ship":    {"PICKED": "SHIPPED", "SHIPPED": "SHIPPED"},
		"deliver": {"SHIPPED": "DELIVERED", "DELIVERED": "DELIVERED"},
	}
	for n, status := range []string{"UNKNOWN", "CREATED", "CANCELED", "PICKED", "SHIPPED", "DELIVERED", "HELD"} {
		for what, to := range leadsTo {
			id := insert(t, db, fmt.Sprintf("order-%s-%d", what, n), status, time.Now())
			before := mysqltest.Dump(t, db, statuses, events)
			d, err := work(w, what, id)
			switch {
			case to[status] != "":
				require.NoError(t, err, "%s on %s", what, status)
				assert.Equal(t, to[status], d.GetStatus().String())
				continue
			case status == "UNKNOWN":
				assert.True(t, wmsv1.IsDeliveryNotFound(err), "%s on %s: %v", what, status, err)
				assert.NotContains(t, err.Error(), "UNKNOWN")
			default:
				assert.True(t, wmsv1.IsDeliveryState(err), "%s on %s: %v", what, status, err)
				assert.Equal(t, 409, kerrors.Code(err))
				assert.Equal(t, status, kerrors.FromError(err).GetMetadata()["status"])
				assert.ErrorContains(t, err, what)
			}
			assert.Equal(t, before, mysqltest.Dump(t, db, statuses, events))
		}
	}
	for _, id := range []string{uuid.NewString(), "x", "发货单", "é", " ", "' OR 1=1 -- ", "😀"} {
		for what := range leadsTo {
			_, err := work(w, what, id)
			assert.True(t, wmsv1.IsDeliveryNotFound(err), "%q: %v", id, err)
			assert.Equal(t, 404, kerrors.Code(err))
		}
	}
}

// TestRacingWork tests that the same work, done many times at once, is done once and published once.
func TestRacingWork(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, migrations.FS, mq.Tables())
	w := rpc.NewWarehouse(mysql.NewStore(db, mqtest.Absent(t, db, "wms")))
	id := insert(t, db, "order-1", "CREATED", time.Now())
	for _, what := range []string{"pick", "ship", "deliver"} {
		var wg sync.WaitGroup
		start := make(chan struct{})
		for range 8 {
			wg.Go(func() {
				<-start
				_, err := work(w, what, id)
				assert.NoError(t, err, what)
			})
		}
		close(start)
		wg.Wait()
	}
	require.Equal(t, "order-1 DELIVERED 2\n--\norder-1 1 delivery.shipped\norder-1 2 delivery.delivered\n--\n",
		mysqltest.Dump(t, db, statuses, events))
}

// TestWhatIsTold tests that the event says which slip of which order stands where, and that no two have the same id.
func TestWhatIsTold(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, migrations.FS, mq.Tables())
	w := rpc.NewWarehouse(mysql.NewStore(db, mqtest.Absent(t, db, "wms")))
	id := insert(t, db, "order-1", "PICKED", time.Now())
	ids := map[string]bool{}
	for n, what := range []string{"ship", "deliver"} {
		_, err := work(w, what, id)
		require.NoError(t, err)
		all := mqtest.Outbox[eventv1.DeliveryChanged](t, db, "wms-events")
		require.Len(t, all, n+1)
		e, told := all[n], all[n].Data
		assert.Equal(t, []any{"/wms", "order-1", int64(n + 1)}, []any{e.Source, e.Subject, e.Sequence})
		assert.Equal(t, []string{id, "order-1", []string{"SHIPPED", "DELIVERED"}[n]},
			[]string{told.GetDeliveryId(), told.GetOrderId(), told.GetStatus()})
		assert.WithinDuration(t, time.Now(), e.Time, time.Minute)
		ids[e.ID] = true
	}
	assert.Len(t, ids, 2)
}

// TestToldOrNotDone tests that the slip is unchanged when the event cannot be written.
func TestToldOrNotDone(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, migrations.FS, mq.Tables())
	w := rpc.NewWarehouse(mysql.NewStore(db, mqtest.Absent(t, db, "wms")))
	id := insert(t, db, "order-1", "PICKED", time.Now())
	_, err := mysqltest.Owner(t, db).ExecContext(t.Context(), "ALTER TABLE mq_outbox ADD CHECK (subject <> 'order-1')")
	require.NoError(t, err)
	_, err = work(w, "ship", id)
	require.Error(t, err)
	require.Equal(t, "order-1 PICKED 0\n--\n", mysqltest.Dump(t, db, statuses))
}
