package answer

import (
	"context"
	"net/http"
)

type headKey struct{}

// Head serves HEAD as GET, whose content the server then leaves out: every resource that can be read has it (RFC 9110 section 9.3.2).
func Head(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			r = r.WithContext(context.WithValue(r.Context(), headKey{}, true))
			r.Method = http.MethodGet // of the copy: the server knows the first one
		}
		next.ServeHTTP(w, r)
	})
}

// IsHead reports whether the client asked by HEAD.
func IsHead(r *http.Request) bool { return r.Context().Value(headKey{}) != nil }

// Asked returns the method by which the client asked.
func Asked(r *http.Request) string {
	if IsHead(r) {
		return http.MethodHead
	}
	return r.Method
}
