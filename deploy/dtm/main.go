// Command dtm is the coordinator of the payment transactions: the server of DTM 1.19.0 without its discovery drivers, on a
// MariaDB or MySQL log, reachable from this machine only.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/dtm-labs/dtm/client/dtmgrpc"
	"github.com/dtm-labs/dtm/dtmsvr"
	"github.com/dtm-labs/dtm/dtmsvr/config"
	"github.com/dtm-labs/logger"
	gormlogger "gorm.io/gorm/logger"

	"example.com/fourfold/chassis/mysql"
	"example.com/fourfold/deploy/dtm/migrations"
)

// hosts is set by build.sh together with the patch that it stands for.
var hosts string

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "dtm:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends. It then stops at once: everything that was promised to a caller is in the log, and the next
// start goes on with it.
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
	// MustLoadConfig logs what it read, the password included, at level info: let the configured level in only afterwards.
	logger.InitLog2("error", "stderr", 0, "")
	config.MustLoadConfig("")
	logger.InitLog2(config.Config.LogLevel, "stderr", 0, "")
	// That a gid is not known is an answer; the default would print it in color.
	gormlogger.Default = gormlogger.New(log.New(os.Stderr, "", log.LstdFlags), gormlogger.Config{
		LogLevel: gormlogger.Error, IgnoreRecordNotFoundError: true})

	db, err := openStore(config.Config.Store)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	if err := mysql.Migrate(ctx, db, migrations.FS); err != nil {
		return fmt.Errorf("database %s at %s:%d: %w", config.Config.Store.Db, config.Config.Store.Host, config.Config.Store.Port, err)
	}
	limitStatements(s.storeTimeout)
	dtmgrpc.AddUnaryInterceptor(redial)
	dtmsvr.Version = dtmVersion()
	// DTM opens its pool at first use, and concurrent first uses would open one each.
	dtmsvr.GetStore().FindKV("none", "none")
	dtmsvr.StartSvr()
	for range s.recoveryWorkers {
		go dtmsvr.CronExpiredTrans(-1)
	}
	go func() { _ = retain(db, s.keep)(ctx) }()
	return hasten(ctx, db, s.longestRetry)
}

// dtmVersion is what GET /api/dtmsvr/version answers.
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
