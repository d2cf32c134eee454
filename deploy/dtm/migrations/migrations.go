// Package migrations holds the schema of shop_dtm, the coordinator's log, one goose file for each step.
package migrations

import "embed"

// FS holds the files.
//
//go:embed *.sql
var FS embed.FS
