// Package docs serves the page /docs: the API's description, to read and to try out, with all files that it needs.
package docs

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"fmt"
	"io/fs"
	"net/http"
	"time"

	khttp "github.com/go-kratos/kratos/v2/transport/http"
)

//go:embed index.html page.js page.css icon.svg swagger-ui
var files embed.FS

// policy lets the page load from and talk to this server only. Swagger UI draws its icons from data: URLs in its style sheet.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Register serves the page at /docs, its files below it, and the description itself at /openapi.yaml.
func Register(router *khttp.Router, openapi []byte) error {
	router.GET("/openapi.yaml", file("openapi.yaml", openapi))
	return fs.WalkDir(files, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := files.ReadFile(path)
		if err != nil {
			return err
		}
		if path == "index.html" {
			router.GET("/docs", file(path, content))
			return nil
		}
		router.GET("/docs/"+path, file(path, content))
		return nil
	})
}

// file answers content, which the browser keeps but revalidates each time.
func file(name string, content []byte) khttp.HandlerFunc {
	etag := fmt.Sprintf(`"%x"`, sha256.Sum256(content))
	return func(ctx khttp.Context) error {
		h := ctx.Response().Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", etag)
		if name == "openapi.yaml" {
			h.Set("Content-Type", "application/yaml")
		}
		http.ServeContent(ctx.Response(), ctx.Request(), name, time.Time{}, bytes.NewReader(content))
		return nil
	}
}
