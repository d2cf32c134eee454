package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/rs/cors"
)

// otherOrigins returns a filter that lets pages of these origins, separated by commas, call the API and read its answers: scheme://host, or
// scheme://host:port. Without any, browsers let no other page do so. A token is never sent by a browser of its own accord, so credentials are
// off.
func otherOrigins(text string) (func(http.Handler) http.Handler, error) {
	var origins []string
	for origin := range strings.SplitSeq(text, ",") {
		origin = strings.TrimSpace(origin)
		if origin == "" {
			continue
		}
		u, err := url.Parse(origin)
		if err != nil || u.Host == "" || u.Scheme+"://"+u.Host != origin {
			return nil, fmt.Errorf("%q is no origin: it is like https://shop.example.com, without a path", origin)
		}
		origins = append(origins, origin)
	}
	if origins == nil {
		return func(next http.Handler) http.Handler { return next }, nil
	}
	return cors.New(cors.Options{
		AllowedOrigins: origins,
		AllowedMethods: []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete},
		AllowedHeaders: []string{"Authorization", "Content-Type", "Idempotency-Key", "Last-Event-Id", "X-Request-Id"},
		ExposedHeaders: []string{"Allow", "Retry-After", "X-Request-Id"},
		MaxAge:         600, // seconds
	}).Handler, nil
}
