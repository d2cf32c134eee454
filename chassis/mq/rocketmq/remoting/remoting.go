// Package remoting asks RocketMQ's name servers and brokers, in their own protocol, what the client does not ask.
package remoting

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"time"
)

// Codes of requests.
const (
	CreateTopic       = 17
	BrokerRuntimeInfo = 28
	ConsumerList      = 38
	TopicRoute        = 105
	BrokerClusterInfo = 106
	TopicConfig       = 351
)

// most is more than an answer has.
const most = 1 << 20

// ErrNotPermitted means that the broker does not know who asks, or permits less.
var ErrNotPermitted = errors.New("not permitted")

// noPermission is the code of that answer.
const noPermission = 16

// Credentials say to a broker who asks. Nobody in particular asks with the empty ones.
type Credentials struct{ AccessKey, SecretKey string }

// sign adds who asks to the arguments of a request, and the proof: a MAC with the secret key over all values, in the order of their names, and
// body.
func (c Credentials) sign(args map[string]string, body []byte) {
	if c.AccessKey == "" {
		return
	}
	args["AccessKey"] = c.AccessKey
	m := hmac.New(sha1.New, []byte(c.SecretKey))
	for _, name := range slices.Sorted(maps.Keys(args)) {
		m.Write([]byte(args[name]))
	}
	m.Write(body)
	args["Signature"] = base64.StdEncoding.EncodeToString(m.Sum(nil))
}

// Ask sends one request to addr (host:port), as nobody in particular, and returns the body of the answer. args are the request's arguments:
// names and values in turn. Without a deadline of ctx it takes at most 3 s.
func Ask(ctx context.Context, addr string, code int, args ...string) ([]byte, error) {
	return Credentials{}.Ask(ctx, addr, code, nil, args...)
}

// Ask is Ask with a body, as c. It returns an ErrNotPermitted when the server answers that.
func (c Credentials) Ask(ctx context.Context, addr string, code int, body []byte, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, untilDeadline(ctx))
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	// Whatever ends ctx ends the reading.
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()

	// A frame: its length, that of the header (its highest byte 0 for JSON), the header, the body.
	fields := map[string]string{}
	for i := 0; i+1 < len(args); i += 2 {
		fields[args[i]] = args[i+1]
	}
	c.sign(fields, body)
	header, err := json.Marshal(map[string]any{"code": code, "flag": 0, "language": "OTHER", "opaque": 1, "version": 0, "extFields": fields})
	if err != nil {
		return nil, err
	}
	frame := binary.BigEndian.AppendUint32(nil, uint32(4+len(header)+len(body)))
	frame = binary.BigEndian.AppendUint32(frame, uint32(len(header)))
	if _, err := conn.Write(slices.Concat(frame, header, body)); err != nil {
		return nil, err
	}
	var size uint32
	if err := binary.Read(conn, binary.BigEndian, &size); err != nil {
		return nil, fmt.Errorf("it does not answer: %w", err)
	}
	answer, err := io.ReadAll(io.LimitReader(conn, int64(min(size, most))))
	if err != nil {
		return nil, fmt.Errorf("it does not answer: %w", err)
	}
	if len(answer) < 4 || int(binary.BigEndian.Uint32(answer)&0xffffff) > len(answer)-4 {
		return nil, errors.New("it answers something else than a name server or a broker")
	}
	end := 4 + binary.BigEndian.Uint32(answer)&0xffffff
	var reply struct {
		Code   int    `json:"code"`
		Remark string `json:"remark"`
	}
	err = json.NewDecoder(bytes.NewReader(answer[4:end])).Decode(&reply)
	switch {
	case err == nil && reply.Code == noPermission:
		return nil, fmt.Errorf("%w: it answers %d %s", ErrNotPermitted, reply.Code, reply.Remark)
	case err != nil || reply.Code != 0:
		return nil, fmt.Errorf("it answers %d %s", reply.Code, reply.Remark)
	}
	return answer[end:], nil
}

// AwaitConsumers waits until each group has a consumer at the broker at addr. Services connect by themselves when the broker is there, which may
// be a few seconds after they are healthy.
func AwaitConsumers(ctx context.Context, addr string, groups ...string) error {
	for _, group := range groups {
		for {
			_, err := Ask(ctx, addr, ConsumerList, "consumerGroup", group)
			if err == nil {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("no service consumes as %s: %w: %w", group, ctx.Err(), err)
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	return nil
}

func untilDeadline(ctx context.Context) time.Duration {
	if at, ok := ctx.Deadline(); ok {
		return time.Until(at)
	}
	return 3 * time.Second
}
