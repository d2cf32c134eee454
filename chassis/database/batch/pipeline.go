package batch

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
)

// pipeline is a connection for a local transaction that takes two round trips: the statements that find out go with BEGIN, those that change
// with COMMIT.
type pipeline struct{ conn *sql.Conn }

// begin takes a connection.
func begin(ctx context.Context, db *sql.DB) (pipeline, error) {
	conn, err := db.Conn(ctx)
	return pipeline{conn}, err
}

// end returns the connection. After an error it ends the transaction before, and closes the connection when that cannot be known; whether the
// transaction was committed is then unknown.
func (p pipeline) end(err error) {
	if p.conn == nil {
		return
	}
	if err != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := p.conn.ExecContext(ctx, "ROLLBACK"); err != nil {
			_ = p.conn.Raw(func(any) error { return driver.ErrBadConn })
		}
	}
	_ = p.conn.Close()
}

// trips and statements count what is sent. Their difference is what it saves.
var trips, statements = counters()

func counters() (trips, statements metric.Int64Counter) {
	meter := otel.Meter("example.com/fourfold/chassis/database/batch")
	trips, err := meter.Int64Counter("database_batch_trips", metric.WithDescription("Round trips of shared local transactions to the database."))
	if err != nil {
		otel.Handle(err)
	}
	statements, err = meter.Int64Counter("database_batch_statements",
		metric.WithDescription("Statements of shared local transactions, several in a round trip."))
	if err != nil {
		otel.Handle(err)
	}
	return trips, statements
}

// send sends all in one packet and reads the answers. The server stops at the first statement that fails.
func (p pipeline) send(ctx context.Context, all []Statement) error {
	var (
		text  strings.Builder
		args  []any
		finds []Statement
	)
	for i, s := range all {
		if i > 0 {
			text.WriteString(";\n")
		}
		text.WriteString(s.SQL)
		args = append(args, s.Args...)
		if s.each != nil {
			finds = append(finds, s)
		}
	}
	trips.Add(ctx, 1)
	statements.Add(ctx, int64(len(all)))
	rows, err := p.conn.QueryContext(ctx, text.String(), args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for i, s := range finds {
		if i > 0 && !rows.NextResultSet() {
			return cmp.Or(rows.Err(), fmt.Errorf("no rows came of %s", s.SQL))
		}
		for rows.Next() {
			if err := s.each(rows.Scan); err != nil {
				return err
			}
		}
		if err := rows.Err(); err != nil {
			return err
		}
	}
	for rows.NextResultSet() { // what follows has none, and may fail
	}
	return cmp.Or(rows.Err(), rows.Close())
}
