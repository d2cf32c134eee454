// Package remotingtest gives tests a name server or a broker that answers what the test wants.
package remotingtest

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"testing"
)

// Answer returns the code and the body of the answer to a request with that code and those arguments. It may be called by several goroutines.
type Answer func(request int, args map[string]string) (code int, body string)

// Serve returns the address of a server that answers by answer until the test ends.
func Serve(t testing.TB, answer Answer) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serve(conn, answer)
		}
	}()
	return l.Addr().String()
}

// serve answers the requests on conn, whose headers are JSON.
func serve(conn net.Conn, answer Answer) {
	defer func() { _ = conn.Close() }()
	const oneWay = 2
	for r := bufio.NewReader(conn); ; {
		var size, header uint32
		if binary.Read(r, binary.BigEndian, &size) != nil || binary.Read(r, binary.BigEndian, &header) != nil {
			return
		}
		frame := make([]byte, size-4)
		if _, err := io.ReadFull(r, frame); err != nil {
			return
		}
		var request struct {
			Code, Opaque, Flag int
			ExtFields          map[string]string
		}
		if json.Unmarshal(frame[:header&0xffffff], &request) != nil {
			return
		}
		if request.Flag&oneWay != 0 {
			continue
		}
		code, body := answer(request.Code, request.ExtFields)
		// The fields are those of an answer to a send.
		head := fmt.Appendf(nil, `{"code":%d,"language":"JAVA","version":0,"opaque":%d,"flag":1,"remark":"the test wants it",
			"extFields":{"queueId":"0","queueOffset":"0","msgId":"7F00000100002A9F0000000000000000"}}`, code, request.Opaque)
		out := binary.BigEndian.AppendUint32(nil, uint32(4+len(head)+len(body)))
		out = binary.BigEndian.AppendUint32(out, uint32(len(head)))
		if _, err := conn.Write(append(append(out, head...), body...)); err != nil {
			return
		}
	}
}
