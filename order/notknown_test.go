package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	accessv1 "example.com/fourfold/api/access/v1"
	branchv1 "example.com/fourfold/api/branch/v1"
	orderv1 "example.com/fourfold/api/order/v1"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/service/servicetest"
)

// TestNotKnown tests that what is not known is answered as not known, in every call, whatever the database fails to do.
func TestNotKnown(t *testing.T) {
	t.Parallel()
	faults := mysqltest.NewFaults()
	s := serveOrder(t, func(cfg *config) { cfg.MySQL.Wrap, cfg.Faults = faults.Wrap, true })
	about := func(make func(id string) proto.Message, steps ...string) func(*testing.T) (proto.Message, map[string]string) {
		return func(t *testing.T) (proto.Message, map[string]string) { return make(s.order(t, steps...)), s.headers(t) }
	}
	phase := func(method string, steps ...string) func(*testing.T) (proto.Message, map[string]string) {
		return func(t *testing.T) (proto.Message, map[string]string) {
			return s.branch(t, method, s.order(t, steps...))
		}
	}
	operator := servicetest.Bearer(t, s.signer, identity.Caller{MemberID: "operator", Role: accessv1.Operator})
	branch := &branchv1.GetBranchRequest{Gid: "none", BranchId: "01"}
	get := func(id string) proto.Message { return &orderv1.GetOrderRequest{Id: id} }
	pay := func(id string) proto.Message { return &orderv1.PayOrderRequest{Id: id} }
	cancel := func(id string) proto.Message { return &orderv1.CancelOrderRequest{Id: id} }
	refund := func(id string) proto.Message { return &orderv1.RefundOrderRequest{Id: id} }
	servicetest.NotKnown(t, s.conn, faults, []servicetest.Call{
		{Method: orderv1.Orders_CreateOrder_FullMethodName, Make: func(t *testing.T) (proto.Message, map[string]string) {
			return oneTea, s.headers(t)
		}},
		{Method: orderv1.Orders_GetOrder_FullMethodName, Make: about(get)},
		{Method: orderv1.Orders_ListOrders_FullMethodName, Make: func(t *testing.T) (proto.Message, map[string]string) {
			return &orderv1.ListOrdersRequest{PageSize: 1}, s.headers(t)
		}},
		{Method: orderv1.Orders_PayOrder_FullMethodName, Case: "CREATED", Make: about(pay)},
		{Method: orderv1.Orders_PayOrder_FullMethodName, Case: "expired", Make: about(pay, "expired")},
		{Method: orderv1.Orders_PayOrder_FullMethodName, Case: "CANCELED", Make: about(pay, "cancel")},
		{Method: orderv1.Orders_PayOrder_FullMethodName, Case: "PAID", Make: about(pay, "pay", "paid")},
		{Method: orderv1.Orders_PayOrder_FullMethodName, Case: "REFUNDING", Make: about(pay, "pay", "paid", "refund")},
		{Method: orderv1.Orders_CancelOrder_FullMethodName, Case: "CREATED", Make: about(cancel)},
		{Method: orderv1.Orders_CancelOrder_FullMethodName, Case: "CANCELED", Make: about(cancel, "cancel")},
		{Method: orderv1.Orders_CancelOrder_FullMethodName, Case: "UPDATING", Make: about(cancel, "pay")},
		{Method: orderv1.Orders_RefundOrder_FullMethodName, Case: "CREATED", Make: about(refund)},
		{Method: orderv1.Orders_RefundOrder_FullMethodName, Case: "PAID", Make: about(refund, "pay", "paid")},
		{Method: orderv1.Orders_RefundOrder_FullMethodName, Case: "REFUNDING", Make: about(refund, "pay", "paid", "refund")},
		{Method: orderv1.OrderPayment_Confirm_FullMethodName, Make: phase(orderv1.OrderPayment_Confirm_FullMethodName, "pay")},
		{Method: orderv1.OrderPayment_Cancel_FullMethodName, Make: phase(orderv1.OrderPayment_Cancel_FullMethodName, "pay")},
		{Method: orderv1.OrderRefund_Confirm_FullMethodName,
			Make: phase(orderv1.OrderRefund_Confirm_FullMethodName, "pay", "paid", "refund")},
		{Method: orderv1.OrderRefund_Cancel_FullMethodName,
			Make: phase(orderv1.OrderRefund_Cancel_FullMethodName, "pay", "paid", "refund")},
		{Method: branchv1.Barrier_GetBranch_FullMethodName, Make: func(*testing.T) (proto.Message, map[string]string) {
			return branch, s.keys.CallHeaders(branchv1.Barrier_GetBranch_FullMethodName, branch)
		}},
		{Method: orderv1.Settlement_GetSettlement_FullMethodName, Make: func(t *testing.T) (proto.Message, map[string]string) {
			return &orderv1.GetSettlementRequest{Id: s.order(t)}, operator
		}},
		{Method: orderv1.Settlement_Settle_FullMethodName, Make: func(t *testing.T) (proto.Message, map[string]string) {
			return &orderv1.SettleRequest{Id: s.order(t), Decision: 1}, operator
		}},
		{Method: orderv1.Conservation_CheckConservation_FullMethodName, Make: func(t *testing.T) (proto.Message, map[string]string) {
			return &orderv1.CheckConservationRequest{}, operator
		}, Says: func(proto.Message) string { return "a report" }},
	}, "mq.v1.Messages", "mq.v1.Sent")
}

// TestCancelOfLockedOrder tests that a member whose order somebody has locked for longer than the database waits is told to try later, not that
// the order cannot be canceled.
func TestCancelOfLockedOrder(t *testing.T) {
	t.Parallel()
	s := serveOrder(t, func(*config) {})
	id := s.order(t)
	tx, err := s.db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	var locked string
	require.NoError(t, tx.QueryRowContext(t.Context(), "SELECT id FROM orders WHERE id = ? FOR UPDATE", id).Scan(&locked))
	_, err = s.try(t, orderv1.Orders_CancelOrder_FullMethodName, &orderv1.CancelOrderRequest{Id: id})
	assert.Equal(t, "TRY_LATER", kerrors.Reason(err), "%v", err)
	assert.Equal(t, 503, kerrors.Code(err), "%v", err)
	require.NoError(t, tx.Rollback())
	require.Equal(t, orderv1.Order_CANCELED, s.do(t, orderv1.Orders_CancelOrder_FullMethodName, &orderv1.CancelOrderRequest{Id: id}).GetStatus())
}

// TestNotBegunInTime tests that a member whose payment could not be begun while there was time is not told that the order can still be paid when
// the time is over, but what the next call would be told.
func TestNotBegunInTime(t *testing.T) {
	t.Parallel()
	for name, expires := range map[string]string{"in time": "NOW(3) + INTERVAL 1 HOUR", "over": "NOW(3)"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// The time passes while the coordinator does not answer.
			s := serveOrder(t, func(*config) {}, func(db *sql.DB) error {
				_, err := db.ExecContext(t.Context(), "UPDATE orders SET expires_at = "+expires)
				return errors.Join(status.Error(codes.Unavailable, "no answer"), err)
			})
			_, err := s.try(t, orderv1.Orders_PayOrder_FullMethodName, &orderv1.PayOrderRequest{Id: s.order(t)})
			answer := fmt.Sprint(kerrors.Code(err), " ", kerrors.Reason(err))
			row := mysqltest.Dump(t, s.db, "SELECT state FROM payment_attempt", "SELECT status, reason FROM orders")
			if name == "over" {
				assert.Equal(t, "409 EXPIRED", answer, "%v", err)
				assert.Equal(t, "ABANDONED\n--\nCANCELED EXPIRED\n--\n", row)
				return
			}
			assert.Equal(t, "503 TRY_LATER", answer, "%v", err)
			require.ErrorContains(t, err, "can still be paid")
			assert.Equal(t, "ABANDONED\n--\nCREATED \n--\n", row)
		})
	}
}

// TestRefundedMeanwhile tests that a member whose refund could not be begun is told nothing that is not true when another one succeeds between
// any two statements of the call: that it is refunded, that it is under way, or to try later; but not that it was refused.
func TestRefundedMeanwhile(t *testing.T) {
	t.Parallel()
	faults := mysqltest.NewFaults()
	var away atomic.Bool
	s := serveOrder(t, func(cfg *config) { cfg.MySQL.Wrap = faults.Wrap }, func(*sql.DB) error {
		if away.Load() {
			return status.Error(codes.Unavailable, "no answer")
		}
		return nil
	})
	refund := func(ctx context.Context, id string) (string, error) {
		var o orderv1.Order
		err := s.conn.Invoke(metadata.NewOutgoingContext(ctx, metadata.New(s.headers(t))), orderv1.Orders_RefundOrder_FullMethodName,
			&orderv1.RefundOrderRequest{Id: id}, &o)
		return o.GetStatus().String(), err
	}
	answers := map[string]int{}
	for n := 1; ; n++ {
		id := s.order(t, "pay", "paid")
		away.Store(true)
		done := make(chan struct{})
		plan := faults.Before(n, func() {
			away.Store(false)
			go func() {
				defer close(done)
				assert.Eventually(t, func() bool { got, err := refund(t.Context(), id); return err == nil && got == "REFUNDING" }, 20*time.Second,
					time.Millisecond, "the other one is begun")
				s.phase(t, orderv1.OrderRefund_Confirm_FullMethodName, id)
			}()
			select {
			case <-done:
			case <-time.After(300 * time.Millisecond): // it waits for what this call has locked
			}
		})
		var o orderv1.Order
		err := s.conn.Invoke(plan.Context(metadata.NewOutgoingContext(t.Context(), metadata.New(s.headers(t)))),
			orderv1.Orders_RefundOrder_FullMethodName, &orderv1.RefundOrderRequest{Id: id}, &o)
		if plan.Statements() < n {
			break
		}
		<-done
		said := o.GetStatus().String()
		if err != nil {
			said = kerrors.Reason(err)
		}
		answers[said]++
		assert.Contains(t, []string{"REFUNDED", "REFUNDING", "TRY_LATER"}, said, "the other one before statement %d: %v", n, err)
	}
	assert.Positive(t, answers["REFUNDED"], "%v", answers)
	assert.Positive(t, answers["TRY_LATER"], "%v", answers)
}
