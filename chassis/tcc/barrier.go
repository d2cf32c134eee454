package tcc

import (
	"context"
	"database/sql"
)

// pass writes the phase's barrier row in tx and reports whether the phase must run. The rows have the meaning that DTM's client gives them
// (table barrier, column reason), so DTM's tools can read them.
//
// A Cancel first takes the place of its Try: when that row was not there, the Try never ran (empty rollback) and will find its place taken when
// it comes (hanging). pass stops at the first error: after a deadlock the session is outside the transaction, and a second INSERT would commit
// on its own.
func pass(ctx context.Context, tx *sql.Tx, c Call) (bool, error) {
	if c.Phase == Cancel {
		empty, err := take(ctx, tx, c, Try)
		if err != nil {
			return false, err
		}
		if empty {
			_, err := take(ctx, tx, c, Cancel)
			return false, err
		}
	}
	return take(ctx, tx, c, c.Phase)
}

// take inserts the row of a phase and reports whether it was new.
func take(ctx context.Context, tx *sql.Tx, c Call, of Phase) (bool, error) {
	res, err := tx.ExecContext(ctx,
		"INSERT IGNORE INTO barrier (trans_type, gid, branch_id, op, barrier_id, reason) VALUES ('tcc', ?, ?, ?, '01', ?)",
		c.GID, c.Branch, of, c.Phase)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}
