// Command dtm is the coordinator of the payment transactions: the server of DTM 1.19.0 without its discovery drivers, on a
// MariaDB or MySQL log, reachable from this machine only.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/dtm-labs/dtm/client/dtmgrpc"
	"github.com/dtm-labs/dtm/dtmsvr"
	"github.com/dtm-labs/dtm/dtmsvr/config"
	"github.com/dtm-labs/logger"
	"google.golang.org/grpc/resolver"
	gormlogger "gorm.io/gorm/logger"

	"example.com/fourfold/chassis/endpoints"
	"example.com/fourfold/chassis/probe"
	"example.com/fourfold/chassis/telemetry"
	"example.com/fourfold/deploy/dtm/servers"
)

// hosts is set by build.sh, which shows that the patch is in the binary.
var hosts string

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	do := run
	if len(os.Args) == 2 && os.Args[1] == "health" {
		do = health
	}
	if err := do(ctx); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "dtm:", err)
		os.Exit(1)
	}
}

// health asks the coordinator that runs with the same environment whether it answers: what a container's health check runs.
func health(ctx context.Context) error {
	if _, err := load(); err != nil {
		return err
	}
	return probe.AskSelf(ctx, net.JoinHostPort(os.Getenv("HTTP_HOST"), os.Getenv("HTTP_PORT")), "/api/dtmsvr/version")
}

// stopTimeout bounds an orderly stop. A payment that takes longer is in the log, and another instance goes on with it.
const stopTimeout = 15 * time.Second

// run serves until ctx ends. Then it answers the calls under way, finishes its work on transactions, and returns.
func run(ctx context.Context) error {
	if hosts != "patched" {
		return errors.New("this binary would listen on every address of the machine: build it with deploy/dtm/build.sh")
	}
	// The log's times have no zone: in UTC no hour comes twice, and all instances mean the same.
	time.Local = time.UTC
	s, err := load()
	if err != nil {
		return err
	}
	// MustLoadConfig logs what it read, the password included, at level info: set the configured level only afterwards.
	logger.InitLog2("error", "stderr", 0, "")
	config.MustLoadConfig("")
	logger.InitLog2(config.Config.LogLevel, "stderr", 0, "")
	// An unknown gid is an answer, not an error; the default logger would print it in color.
	gormlogger.Default = gormlogger.New(log.New(os.Stderr, "", log.LstdFlags), gormlogger.Config{
		LogLevel: gormlogger.Error, IgnoreRecordNotFoundError: true})

	slog.SetDefault(slog.New(telemetry.Handler(slog.NewJSONHandler(os.Stderr, nil))).With("service", "dtm"))
	flush, err := telemetry.Setup(ctx, "dtm")
	if err != nil {
		return err
	}
	defer func() {
		sending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		_ = flush(sending)
	}()
	if servers.Credentials, err = s.tls.Credentials(); err != nil {
		return err
	}
	if err := migrate(ctx, config.Config.Store, s.migrate); err != nil {
		return err
	}
	servers.LongestRetry = s.longestRetry
	limitStatements(s.storeTimeout)
	db, err := openStore(config.Config.Store, s.migrate)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	resolver.Register(endpoints.Resolver{})
	resolver.SetDefaultScheme(endpoints.Resolver{}.Scheme()) // of the branches' addresses
	dtmgrpc.AddUnaryInterceptor((&redialer{}).call)
	dtmgrpc.AddUnaryInterceptor(traced)
	dtmsvr.Version = dtmVersion()
	// DTM opens its pool at first use, and concurrent first uses would open one each.
	dtmsvr.GetStore().FindKV("none", "none")
	dtmsvr.StartSvr()
	for _, status := range unfinished {
		r := recovery{db, status, s.recoveryWorkers, time.Duration(config.Config.TransCronInterval) * time.Second,
			time.Duration(config.Config.RetryInterval) * time.Second}
		done := servers.Behind()
		go func() {
			defer done()
			r.run(ctx)
		}()
	}
	go func() { _ = retain(db, s.keep)(ctx) }()
	if err := keepRetriesClose(ctx, db, s.longestRetry); err != nil {
		return err
	}

	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := servers.Stop(stopping); err != nil {
		return fmt.Errorf("not all that was under way is finished: %w", err)
	}
	return nil
}

// dtmVersion returns the version that GET /api/dtmsvr/version answers.
func dtmVersion() string {
	info, _ := debug.ReadBuildInfo()
	if info != nil {
		for _, m := range info.Deps {
			if m.Path == "github.com/dtm-labs/dtm" {
				return m.Version
			}
		}
	}
	return "unknown"
}
