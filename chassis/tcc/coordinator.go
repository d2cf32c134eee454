// Package tcc is both ends of a TCC transaction under the DTM coordinator: Coordinator opens a global transaction of several branches,
// Participant runs a branch's Try, Confirm and Cancel under the barrier. Every call of a branch is signed: Call is what, mac.Keys with what, and
// a server with ServerOption and Registrar keeps the bytes by which it is checked. Package tcclaws holds the laws that every participant must
// pass.
package tcc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dtm-labs/client/dtmgrpc/dtmgpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/chassis/mtls"
	"example.com/fourfold/chassis/service"
)

// Status is the state of a global transaction at the coordinator.
type Status string

// The statuses in the coordinator's own words, and Unknown for a gid it has no record of.
const (
	Unknown   Status = "unknown"
	Prepared  Status = "prepared"
	Submitted Status = "submitted"
	Aborting  Status = "aborting"
	Succeeded Status = "succeed"
	Failed    Status = "failed"
)

// Coordinator is a client of the DTM server. Its methods may be called concurrently. Errors are ambiguous unless documented otherwise: the
// coordinator may have done what was asked.
type Coordinator struct {
	conn   *grpc.ClientConn
	dtm    dtmgpb.DtmClient
	admins []string
	// answered is the index of the admin that answered last.
	answered atomic.Int32
	keys     mac.Keys
	http     http.Client
}

// Dial prepares a Coordinator for the server's gRPC address (host:port) and its admin address (http://host:port). Each may be a list of several
// instances, separated by commas; they work on one log, so any of them can take any call. tls is for the gRPC address only. Dial does not
// connect yet.
func Dial(addr, admin string, tls mtls.Config, keys mac.Keys) (*Coordinator, error) {
	conn, err := service.Dial(addr, tls)
	if err != nil {
		return nil, fmt.Errorf("coordinator: %w", err)
	}
	admins := strings.Split(admin, ",")
	for i, a := range admins {
		admins[i] = strings.TrimSpace(a)
		if u, err := url.Parse(admins[i]); err != nil || u.Scheme == "" || u.Host == "" {
			return nil, fmt.Errorf("coordinator: the admin address %q is not http://host:port, nor several of that with commas between", admin)
		}
	}
	return &Coordinator{conn: conn, dtm: dtmgpb.NewDtmClient(conn), admins: admins, keys: keys,
		http: http.Client{Timeout: 3 * time.Second / time.Duration(len(admins))}}, nil
}

// Close ends the connection.
func (c *Coordinator) Close() error { return c.conn.Close() }

// Status returns the status of gid. Unlike with the other calls, an error means only that nothing was learnt.
func (c *Coordinator) Status(ctx context.Context, gid string) (Status, error) {
	var reply struct {
		Transaction *struct {
			Status Status `json:"status"`
		} `json:"transaction"`
	}
	body, err := c.adminCall(ctx, http.MethodGet, "/api/dtmsvr/query?gid="+url.QueryEscape(gid), nil)
	if err != nil {
		return "", err
	}
	if err := json.Unmarshal(body, &reply); err != nil {
		return "", fmt.Errorf("coordinator's answer about %s: %w", gid, err)
	}
	if reply.Transaction == nil || reply.Transaction.Status == "" {
		return Unknown, nil
	}
	return reply.Transaction.Status, nil
}

// RetryNow makes the coordinator retry gid now instead of after its growing pause. Call it only for a submitted or aborting transaction: for a
// prepared one it would delay the time-out.
func (c *Coordinator) RetryNow(ctx context.Context, gid string) error {
	body, err := json.Marshal(map[string]string{"gid": gid})
	if err == nil {
		_, err = c.adminCall(ctx, http.MethodPost, "/api/dtmsvr/resetNextCronTime", body)
	}
	return err
}

// adminCall asks the instance that answered last, then the others: one that cannot read the log (500) counts as silent. So a call may reach two
// instances.
func (c *Coordinator) adminCall(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	var silent error
	for i, first := 0, int(c.answered.Load()); i < len(c.admins); i++ {
		at := (first + i) % len(c.admins)
		status, answer, err := c.adminCallTo(ctx, c.admins[at], method, path, body)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("coordinator: %s %s: %d: %.200s", method, path, status, answer)
		}
		if err == nil || status != 0 && status < http.StatusInternalServerError {
			c.answered.Store(int32(at))
			return answer, err
		}
		silent = errors.Join(silent, err)
	}
	return nil, silent
}

func (c *Coordinator) adminCallTo(ctx context.Context, base, method, path string, body []byte) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, base+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// Refused reports whether err is a refusal (gRPC Aborted): of a Try by the business, of Submit by the coordinator. After every other error
// it is unknown whether the call had its effect.
func Refused(err error) bool {
	return err != nil && status.Code(err) == codes.Aborted
}
