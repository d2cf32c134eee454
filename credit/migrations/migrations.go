// Package migrations holds the schema of shop_credit, one goose file per step.
package migrations

import "embed"

// FS holds the files.
//
//go:embed *.sql
var FS embed.FS
