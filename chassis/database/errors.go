package database

import (
	"context"
	"crypto/tls"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"

	"github.com/go-sql-driver/mysql"
)

// Duplicate reports whether err means that a unique key is taken.
func Duplicate(err error) bool {
	var me *mysql.MySQLError
	return errors.As(err, &me) && me.Number == 1062
}

// Deadlock reports whether err means that the transaction was the victim of a deadlock: it is rolled back as a whole.
func Deadlock(err error) bool {
	var me *mysql.MySQLError
	return errors.As(err, &me) && me.Number == 1213
}

// Denied reports whether err means that the account may not log in, or not execute the statement.
func Denied(err error) bool {
	var me *mysql.MySQLError
	return errors.As(err, &me) && slices.Contains([]uint16{1044, 1045, 1142, 1143, 1227, 1370}, me.Number)
}

// Unavailable reports whether err says "not now": the server could not be reached, gave up the statement, or had no room for it. The same
// statement may succeed later, without a change of the program or of its input.
func Unavailable(err error) bool {
	var me *mysql.MySQLError
	if errors.As(err, &me) {
		return notNow[me.Number] || me.Number == 1030 && ofSystem(me.Message)
	}
	var ne net.Error
	var untrusted *tls.CertificateVerificationError // of a server that is not to be trusted, for now
	return errors.As(err, &ne) || errors.As(err, &untrusted) || errors.Is(err, mysql.ErrNoTLS) || errors.Is(err, driver.ErrBadConn) ||
		errors.Is(err, mysql.ErrInvalidConn) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// InTime returns err of a transaction with that context; when it only says that the transaction is over, and the context ended it, with the
// reason. database/sql rolls such a transaction back, and says ErrTxDone to a statement that has another context.
func InTime(ctx context.Context, err error) error {
	if errors.Is(err, sql.ErrTxDone) && ctx.Err() != nil {
		return errors.Join(ctx.Err(), err)
	}
	return err
}

// notNow holds the server's errors that are about the server, not about the statement. The numbers are those of MariaDB 10.11 and MySQL 8.
var notNow = map[uint16]bool{
	// Disk: full, or a file that cannot be written or read. The first ones are of the operating system's layer.
	1: true, 2: true, 3: true, 4: true, 20: true, 27: true, // create, read, write, close, disk full, sync
	1004: true, 1016: true, 1023: true, 1024: true, 1026: true, // create, open, close, read, write
	1021: true, // disk full
	1114: true, // table full: its tablespace cannot grow
	1180: true, // error during COMMIT
	// Memory, threads, file handles, locks, transactions.
	5: true, 23: true, 1037: true, 1038: true, 1041: true, 1135: true, 1206: true, 1637: true,
	// Connections: too many of all, of this account, this hour; this host blocked after many failures.
	1040: true, 1203: true, 1226: true, 1129: true,
	// The server is going down, or not yet part of its cluster (1047).
	1047: true, 1053: true, 1077: true, 1078: true, 1079: true, 1080: true,
	// The connection broke, or somebody ended it.
	1152: true, 1158: true, 1159: true, 1160: true, 1161: true, 1184: true, 1927: true,
	// The statement was given up: lock wait, deadlock, killed, out of its time.
	1205: true, 1213: true, 1317: true, 1969: true, 3024: true,
	// Nothing is written for now, as on a server that is no longer the primary.
	1036: true, 1290: true, 1792: true, 1836: true,
}

// ofSystem reports whether text, of the error "Got error N from storage engine", names an error of the operating system, such as 28 (no space
// left), or the engine's own 135 (no room). The engine's others begin at 120, and among them are those that a statement deserves.
func ofSystem(text string) bool {
	var n int
	_, err := fmt.Sscanf(text, "Got error %d", &n)
	return err == nil && (n < 120 || n == 135)
}
