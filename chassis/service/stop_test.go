package service_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	inventoryv1 "example.com/fourfold/api/inventory/v1"
	"example.com/fourfold/chassis/mtls"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/service/servicetest"
)

// slowShop answers when a line is written to its process, and says on stdout that it was asked.
type slowShop struct {
	inventoryv1.UnimplementedCatalogueServer
}

func (slowShop) GetProduct(context.Context, *inventoryv1.GetProductRequest) (*inventoryv1.Product, error) {
	fmt.Println("asked")
	_, err := bufio.NewReader(os.Stdin).ReadString('\n')
	return &inventoryv1.Product{Sku: "tea"}, err
}

// TestStopAnswersTheCallUnderWay: a service that is told to stop takes no new call, answers the one under way, goes on with its background work
// until then, and ends without an error.
func TestStopAnswersTheCallUnderWay(t *testing.T) {
	const mark = "STOPPED_SERVICE"
	if addr := os.Getenv(mark); addr != "" {
		os.Exit(stopped(addr))
	}
	t.Parallel()
	grpcAddr, adminAddr := servicetest.FreeAddr(t), servicetest.FreeAddr(t)
	keys, _ := servicetest.Keys(t)
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	child.Env = append(os.Environ(), mark+"="+grpcAddr+","+adminAddr+","+keys)
	child.Stderr = t.Output()
	in, err := child.StdinPipe()
	require.NoError(t, err)
	pipe, err := child.StdoutPipe()
	require.NoError(t, err)
	out := bufio.NewScanner(pipe)
	require.NoError(t, child.Start())
	says := func() string {
		if !out.Scan() {
			return ""
		}
		return out.Text()
	}
	conn, err := service.Dial(grpcAddr, mtls.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	shop := inventoryv1.NewCatalogueClient(conn)

	require.Eventually(t, func() bool { // until it serves
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := shop.ListProducts(ctx, &inventoryv1.ListProductsRequest{})
		return err != nil && strings.Contains(err.Error(), "not implemented")
	}, 10*time.Second, 20*time.Millisecond)
	answered := make(chan error, 1)
	go func() {
		p, err := shop.GetProduct(context.Background(), &inventoryv1.GetProductRequest{Sku: "tea"})
		if err == nil && p.GetSku() != "tea" {
			err = fmt.Errorf("got %v", p)
		}
		answered <- err
	}()
	require.Equal(t, "asked", says())
	require.NoError(t, child.Process.Signal(syscall.SIGTERM))
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		other, err := service.Dial(grpcAddr, mtls.Config{})
		require.NoError(t, err)
		defer func() { _ = other.Close() }()
		_, err = inventoryv1.NewCatalogueClient(other).ListProducts(ctx, &inventoryv1.ListProductsRequest{})
		return err != nil && strings.Contains(err.Error(), "refused")
	}, 5*time.Second, 20*time.Millisecond, "it takes no calls any more")
	select {
	case err := <-answered:
		t.Fatalf("the call under way was cut: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	_, err = io.WriteString(in, "go on\n")
	require.NoError(t, err)
	require.NoError(t, <-answered)
	assert.Equal(t, "background work ends", says())
	assert.Empty(t, says())
	assert.NoError(t, child.Wait())
}

// stopped is the service's program, run in a process of its own.
func stopped(where string) int {
	var cfg service.Config
	parts := strings.Split(where, ",")
	cfg.GRPC.Addr, cfg.Admin.Addr, cfg.IdentityKeys = parts[0], parts[1], parts[2]
	cfg.GRPC.Timeout = 10 * time.Second
	cfg.Log.Level = "warn"
	s, err := service.New("shop", cfg)
	if err == nil {
		inventoryv1.RegisterCatalogueServer(s.GRPC, slowShop{})
		s.Go(func(ctx context.Context) error {
			<-ctx.Done()
			fmt.Println("background work ends")
			return nil
		})
		err = s.Run(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
