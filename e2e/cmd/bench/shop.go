package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	orderv1 "example.com/fourfold/api/order/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/deploy/local/stack"
	"example.com/fourfold/e2e/internal/api"
)

// shop is a stack of its own with products, members and their orders.
type shop struct {
	stack *stack.Stack
	// root is the database server as its root.
	root     *sql.DB
	skus     []string
	buyers   []*api.Client
	orders   orderv1.OrdersClient
	operator *api.Client
}

// welcome is how many points each sign-up is followed by: as many as the shop gives by default.
const welcome = 100

// openShop brings a stack up in dir, which is empty, with products in stock and members. env adds to the services' environment.
func openShop(ctx context.Context, dir string, products, members int, env map[string]string, log io.Writer) (s *shop, err error) {
	s = &shop{}
	http.DefaultTransport.(*http.Transport).MaxIdleConnsPerHost = members // each buyer keeps a connection, as a browser does
	all := map[string]string{
		// All calls come from one address, and a member has many orders.
		"LIMIT_CALLS": "0", "LIMIT_STRANGERS": "0", "LIMIT_ADDRESSES": "0", "LIMIT_OPEN_ORDERS": "0",
		"ORDER_TTL": "24h", "REGISTRATION_POINTS": strconv.Itoa(welcome),
	}
	maps.Copy(all, env)
	s.stack, err = stack.Up(ctx, stack.Options{Dir: dir, RandomPorts: true, Temporary: true, Log: log, Env: all})
	if err != nil {
		return s, fmt.Errorf("bring the stack up: %w", err)
	}
	if s.root, err = openRoot(dir, ""); err != nil {
		return s, err
	}
	target, err := s.stack.Seed(ctx)
	if err != nil {
		return s, err
	}
	if s.operator, err = api.SignIn(ctx, target.Gateway, target.Operator); err != nil {
		return s, err
	}
	for range products {
		sku := "bench-" + strings.ToLower(rand.Text())
		err := s.operator.Call(ctx, http.MethodPost, "/v1/ops/products", map[string]any{"sku": sku, "name": sku, "price_cents": 1000}, nil)
		if err == nil {
			err = s.operator.Call(ctx, http.MethodPost, "/v1/ops/products/"+sku+"/stock", map[string]any{"quantity": 1_000_000}, nil)
		}
		if err != nil {
			return s, err
		}
		s.skus = append(s.skus, sku)
	}
	for range members {
		c, err := api.SignUp(ctx, target.Gateway)
		if err != nil {
			return s, err
		}
		s.buyers = append(s.buyers, c)
	}
	conn, err := grpc.NewClient(strings.Split(s.stack.RPC("order"), ",")[0], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return s, err
	}
	s.orders = orderv1.NewOrdersClient(conn)
	return s, nil
}

// openRoot opens the database server of a data folder over its socket, at one of its databases or at none.
func openRoot(dir, database string) (*sql.DB, error) {
	cfg := mysql.NewConfig()
	cfg.User, cfg.Net, cfg.Addr = "root", "unix", filepath.Join(dir, "mysql", "mysql.sock")
	cfg.DBName, cfg.InterpolateParams = database, true
	cfg.Params = map[string]string{"time_zone": "'+00:00'"} // as the services have it
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(200) // the server takes 500, and the services have most of them
	db.SetMaxIdleConns(200)
	return db, nil
}

// close takes the stack down.
func (s *shop) close() error {
	if s.stack == nil {
		return nil
	}
	return s.stack.Down(context.Background())
}

// toPay creates n orders of one unit each, those of buyer w at w, w + buyers, …
func (s *shop) toPay(ctx context.Context, n int, hot bool) ([]string, error) {
	ids := make([]string, n)
	var g errgroup.Group
	g.SetLimit(16)
	for w := range min(len(s.buyers), n) {
		g.Go(func() error {
			for i := w; i < n; i += len(s.buyers) {
				var err error
				if ids[i], err = s.create(ctx, w, pick(s.skus, i, hot)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return ids, g.Wait()
}

// create creates an order of buyer w, of one unit of a product, at the gateway.
func (s *shop) create(ctx context.Context, w int, sku string) (id string, err error) {
	var o struct{ ID string }
	line := map[string]any{"sku": sku, "quantity": 1}
	if err := s.buyers[w].Call(ctx, http.MethodPost, "/v1/orders", map[string]any{"lines": []any{line}}, &o); err != nil {
		return "", fmt.Errorf("create an order: %w", err)
	}
	return o.ID, nil
}

// answered is what a payment is answered with.
type answered struct {
	Status string `json:"status"`
}

// payAtOrder pays the i-th of ids at order's gRPC port.
func (s *shop) payAtOrder(ctx context.Context, ids []string, i int) error {
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+s.buyers[i%len(s.buyers)].Token(), "idempotency-key", uuid.Must(uuid.NewV7()).String())
	o, err := s.orders.PayOrder(ctx, &orderv1.PayOrderRequest{Id: ids[i]})
	return paid(o.GetStatus().String(), err)
}

// payAtGateway pays the i-th of ids at the gateway. A buyer's client is for one goroutine, so worker and buyer must be the same number.
func (s *shop) payAtGateway(ctx context.Context, ids []string, i int) error {
	var o answered
	err := s.buyers[i%len(s.buyers)].Call(ctx, http.MethodPost, "/v1/orders/"+ids[i]+"/pay", map[string]any{}, &o)
	return paid(o.Status, err)
}

// paid returns nil for PAID, and for UPDATING: the row tells when it is PAID.
func paid(status string, err error) error {
	if err == nil && !strings.HasSuffix(status, "PAID") && !strings.HasSuffix(status, "UPDATING") {
		err = fmt.Errorf("a payment is answered %s", status)
	}
	return err
}

// quiet waits until no payment is under way and no event waits: nothing that was begun goes on in the background.
func (s *shop) quiet(ctx context.Context) error {
	const left = `SELECT (SELECT COUNT(*) FROM shop_order.payment_attempt WHERE state = 'OPEN')
		+ (SELECT COUNT(*) FROM shop_dtm.trans_global WHERE status IN ('prepared', 'submitted', 'aborting'))
		+ (SELECT COUNT(*) FROM shop_order.mq_outbox WHERE state = 'READY')
		+ (SELECT COUNT(*) FROM shop_notify.mq_inbox WHERE state = 'WAITING')`
	return awaitNone(ctx, s.root, left)
}

// awaitNone waits until query, which counts what is under way, finds none.
func awaitNone(ctx context.Context, db *sql.DB, query string) error {
	over := time.Now().Add(2 * time.Minute)
	for {
		var n int
		if err := db.QueryRowContext(ctx, query).Scan(&n); err != nil || n == 0 {
			return err
		}
		if time.Now().After(over) {
			return fmt.Errorf("%d payments or events are still under way after 2 minutes", n)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// books returns an error unless all of ids are PAID and the books add up.
func (s *shop) books(ctx context.Context) error {
	var report struct {
		OK     bool
		Checks []struct {
			Name       string
			OK         bool
			Violations []string
		}
	}
	if err := s.operator.Call(ctx, http.MethodGet, "/v1/ops/conservation?open_seconds=1", nil, &report); err != nil {
		return fmt.Errorf("check the books: %w", err)
	}
	var err error
	for _, c := range report.Checks {
		if !c.OK {
			err = errors.Join(err, fmt.Errorf("the books: %s: %v", c.Name, c.Violations))
		}
	}
	if err == nil && !report.OK {
		err = errors.New("the books do not add up")
	}
	return err
}

// paidOf returns how many of ids are PAID.
func (s *shop) paidOf(ctx context.Context, ids []string) (n int, err error) {
	return s.ordersOf(ctx, ids, "PAID")
}

// ordersOf returns how many of ids are orders with a status.
func (s *shop) ordersOf(ctx context.Context, ids []string, status string) (n int, err error) {
	for part := range slices.Chunk(ids, 1000) {
		in, args := database.In(part)
		var some int
		err := s.root.QueryRowContext(ctx, "SELECT COUNT(*) FROM shop_order.orders WHERE id IN ("+in+") AND status = ?", append(args, status)...).Scan(&some)
		if err != nil {
			return n, err
		}
		n += some
	}
	return n, nil
}

// temporary returns an empty folder for a stack.
func temporary() (string, error) { return os.MkdirTemp("", "fourfold-bench-") }
