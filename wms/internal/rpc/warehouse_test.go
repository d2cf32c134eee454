package rpc_test

import (
	"database/sql"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	wmsv1 "example.com/fourfold/api/wms/v1"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/chassis/page"
	"example.com/fourfold/wms/internal/mysql"
	"example.com/fourfold/wms/internal/rpc"
	"example.com/fourfold/wms/migrations"
)

func TestMain(m *testing.M) { mysqltest.Main(m) }

// stocked returns a warehouse with slips of every status, and the slips that the staff may see, newest first.
func stocked(t *testing.T) (*rpc.Warehouse, []*wmsv1.Delivery) {
	t.Helper()
	db := mysqltest.Open(t, migrations.FS, mq.Tables())
	at := time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC)
	var seen []*wmsv1.Delivery
	for i := range 28 {
		status := wmsv1.Delivery_Status(1 + i%7)
		id := insert(t, db, fmt.Sprintf("order-%02d", i), status.String(), at)
		if status == wmsv1.Delivery_UNKNOWN {
			continue
		}
		seen = append(seen, &wmsv1.Delivery{
			Id: id, OrderId: fmt.Sprintf("order-%02d", i), Status: status, Address: "1 Main Street, 杭州",
			Lines: []*wmsv1.Delivery_Line{{Sku: "apple", Quantity: 3}, {Sku: "pear", Quantity: 1}},
		})
	}
	slices.Reverse(seen)
	return rpc.NewWarehouse(mysql.NewStore(db, mqtest.Absent(t, db, "wms"))), seen
}

func insert(t *testing.T, db *sql.DB, orderID, status string, at time.Time) string {
	t.Helper()
	id, err := uuid.NewV7()
	require.NoError(t, err)
	for _, stmt := range []struct {
		sql  string
		args []any
	}{
		{"INSERT INTO delivery_slip (id, order_id, gid, status, address, created_at) VALUES (?, ?, '', ?, '1 Main Street, 杭州', ?)",
			[]any{id.String(), orderID, status, at}},
		{"INSERT INTO delivery_line (slip_id, sku, quantity) VALUES (?, 'pear', 1), (?, 'apple', 3)", []any{id.String(), id.String()}},
	} {
		_, err := db.ExecContext(t.Context(), stmt.sql, stmt.args...)
		require.NoError(t, err)
	}
	return id.String()
}

// all returns every page of what req asks for.
func all(t *testing.T, w *rpc.Warehouse, req *wmsv1.ListDeliveriesRequest) []*wmsv1.Delivery {
	t.Helper()
	var got []*wmsv1.Delivery
	for range 100 {
		reply, err := w.ListDeliveries(t.Context(), req)
		require.NoError(t, err)
		got = append(got, reply.GetDeliveries()...)
		if req.PageToken = reply.GetNextPageToken(); req.PageToken == "" {
			return got
		}
		require.NotEmpty(t, reply.GetDeliveries())
	}
	t.Fatal("the pages do not end")
	return nil
}

// TestListDeliveries reads the slips by pages of every size: newest first, each once, none UNKNOWN.
func TestListDeliveries(t *testing.T) {
	t.Parallel()
	w, want := stocked(t)
	for _, size := range []int32{0, 1, 2, 5, 23, 24, 25, 100} {
		assert.Equal(t, texts(want), texts(all(t, w, &wmsv1.ListDeliveriesRequest{PageSize: size})), "pages of %d", size)
	}
	for number, name := range wmsv1.Delivery_Status_name {
		status := wmsv1.Delivery_Status(number)
		if status == wmsv1.Delivery_STATUS_UNSPECIFIED {
			continue
		}
		var ofStatus []*wmsv1.Delivery
		for _, d := range want {
			if d.GetStatus() == status {
				ofStatus = append(ofStatus, d)
			}
		}
		assert.Equal(t, texts(ofStatus), texts(all(t, w, &wmsv1.ListDeliveriesRequest{Status: status, PageSize: 3})), name)
	}
}

// TestListDeliveriesHidesUnknown tests that no list has them: not the whole one, not by status, not by order, not by both.
func TestListDeliveriesHidesUnknown(t *testing.T) {
	t.Parallel()
	w, want := stocked(t)
	for _, hidden := range []*wmsv1.ListDeliveriesRequest{
		{Status: wmsv1.Delivery_UNKNOWN},
		{OrderId: "order-00"},
		{OrderId: "order-07", Status: wmsv1.Delivery_UNKNOWN},
		{Status: wmsv1.Delivery_UNKNOWN, PageToken: page.Of("deliveries", "", "UNKNOWN").Token(want[0].GetId())},
		// And these do not exist.
		{OrderId: "order-99"},
		{OrderId: "order-01", Status: wmsv1.Delivery_PICKED},
	} {
		assert.Empty(t, all(t, w, hidden), "%v", hidden)
	}
	for _, d := range all(t, w, &wmsv1.ListDeliveriesRequest{}) {
		assert.NotEqual(t, wmsv1.Delivery_UNKNOWN, d.GetStatus())
	}
	one := all(t, w, &wmsv1.ListDeliveriesRequest{OrderId: "order-01", Status: wmsv1.Delivery_CREATED})
	require.Len(t, one, 1)
	assert.Equal(t, time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC), one[0].GetCreatedAt().AsTime())
}

func TestBadInputIsNamed(t *testing.T) {
	t.Parallel()
	w, want := stocked(t)
	for _, token := range []string{"x", want[0].GetId(), page.Of("deliveries", "", "UNKNOWN").Token(want[0].GetId())} {
		_, err := w.ListDeliveries(t.Context(), &wmsv1.ListDeliveriesRequest{PageToken: token})
		require.True(t, wmsv1.IsDeliveryInvalid(err), "%q: %v", token, err)
		assert.ErrorContains(t, err, "page_token")
	}
	_, err := w.ListDeliveries(t.Context(), &wmsv1.ListDeliveriesRequest{OrderId: "ordér-01"})
	require.True(t, wmsv1.IsDeliveryInvalid(err), "%v", err)
	assert.ErrorContains(t, err, "order_id")
}

func TestSetOpen(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, migrations.FS, mq.Tables())
	w := rpc.NewWarehouse(mysql.NewStore(db, mqtest.Absent(t, db, "wms")))
	require.Equal(t, "1 1\n--\n", mysqltest.Dump(t, db, "SELECT id, open FROM warehouse"), "a new warehouse is open")
	for _, open := range []bool{false, false, true, true, false} {
		got, err := w.SetOpen(t.Context(), &wmsv1.SetOpenRequest{Open: &open})
		require.NoError(t, err)
		assert.Equal(t, open, got.GetOpen())
		var stored bool
		require.NoError(t, db.QueryRowContext(t.Context(), "SELECT open FROM warehouse").Scan(&stored))
		assert.Equal(t, open, stored)
	}
	_, err := db.ExecContext(t.Context(), "DELETE FROM warehouse")
	require.NoError(t, err)
	_, err = w.SetOpen(t.Context(), &wmsv1.SetOpenRequest{Open: new(true)})
	require.Error(t, err, "a switch that is not there is not set")
}

func texts(ds []*wmsv1.Delivery) []string {
	out := make([]string, len(ds))
	for i, d := range ds {
		out[i] = fmt.Sprint(d.GetId(), d.GetOrderId(), d.GetStatus(), d.GetAddress())
		for _, l := range d.GetLines() {
			out[i] += fmt.Sprint(" ", l.GetSku(), l.GetQuantity())
		}
	}
	return out
}
