// Package openapi holds the description of the HTTP API, generated from the protos by `make generate`.
package openapi

import _ "embed"

// YAML is the OpenAPI 3.0 document.
//
//go:embed openapi.yaml
var YAML []byte
