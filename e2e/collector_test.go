package e2e_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// collector receives the spans that all processes of the stack export, and keeps them in memory while keep is on.
type collector struct {
	server *http.Server
	url    string

	mu    sync.Mutex
	keeps bool
	spans map[string][]span // by trace
}

// span is one step of a trace. name begins with the process: "order checkout".
type span struct {
	id, parent, name string
	failed           bool
	attrs            map[string]string
}

func startCollector() (*collector, error) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &collector{url: "http://" + lis.Addr().String()}
	c.server = &http.Server{Handler: http.HandlerFunc(c.take), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = c.server.Serve(lis) }()
	return c, nil
}

// keep starts to keep spans, anew, or stops it.
func (c *collector) keep(keeps bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keeps, c.spans = keeps, map[string][]span{}
}

// trace returns the spans of a trace that have arrived.
func (c *collector) trace(id string) []span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.spans[id])
}

// take serves OTLP over HTTP.
func (c *collector) take(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var in collectorv1.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(body, &in)
	}
	if err != nil || r.URL.Path != "/v1/traces" {
		http.Error(w, fmt.Sprint(r.URL.Path, err), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.keeps {
		return
	}
	for _, from := range in.GetResourceSpans() {
		process := attrs(from.GetResource().GetAttributes())["service.name"]
		for _, scope := range from.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				id := fmt.Sprintf("%x", s.GetTraceId())
				c.spans[id] = append(c.spans[id], span{
					id: fmt.Sprintf("%x", s.GetSpanId()), parent: fmt.Sprintf("%x", s.GetParentSpanId()),
					name:   process + " " + s.GetName(),
					failed: s.GetStatus().GetCode() == tracev1.Status_STATUS_CODE_ERROR,
					attrs:  attrs(s.GetAttributes()),
				})
			}
		}
	}
}

func attrs(kvs []*commonv1.KeyValue) map[string]string {
	m := map[string]string{}
	for _, kv := range kvs {
		m[kv.GetKey()] = kv.GetValue().GetStringValue()
	}
	return m
}
