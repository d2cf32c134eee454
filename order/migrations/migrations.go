// Package migrations holds the schema of shop_order, one goose file per step.
package migrations

import "embed"

// FS holds the files.
//
//go:embed *.sql
var FS embed.FS
