package mysqltest

import (
	"context"
	"net"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/go-sql-driver/mysql"
)

// watched is the network of the databases that Open opens: TCP, seen by Hops.
const watched = "watched"

// watch registers the network.
var watch = sync.OnceFunc(func() {
	mysql.RegisterDialContext(watched, func(ctx context.Context, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		return watchedConn{conn.(*net.TCPConn)}, nil
	})
})

// watchedConn notes for Hops the stack of every write to the server.
type watchedConn struct{ *net.TCPConn }

func (c watchedConn) Write(b []byte) (int, error) {
	if hops.on.Load() {
		note()
	}
	return c.TCPConn.Write(b)
}

var hops struct {
	call    sync.Mutex // one at a time
	on      atomic.Bool
	longest []string
}

// Hops runs call and returns the functions of this repository on the longest way from call to the server, outermost first. A function and its
// closures count as one; tests, laws and what a server runs before its handlers do not count. call must do its work in its own goroutine, with
// databases of Open.
func Hops(call func()) []string {
	hops.call.Lock()
	defer hops.call.Unlock()
	hops.longest = nil
	hops.on.Store(true)
	defer hops.on.Store(false)
	call()
	return hops.longest
}

const ours = "example.com/fourfold/"

var (
	closure = regexp.MustCompile(`(\.func\d+|\.gowrap\d+|-range\d+|\.\d+)+$`)
	tests   = regexp.MustCompile(`^` + ours + `\S*(_test|test|laws)\.`)
)

// note keeps the stack when it is the longest one of Hops' call.
func note() {
	pcs := make([]uintptr, 200)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	var way []string
	for {
		f, more := frames.Next()
		switch name := closure.ReplaceAllString(f.Function, ""); {
		case strings.HasSuffix(name, "/mysqltest.Hops"):
			slices.Reverse(way)
			way = first(way)
			if len(way) > len(hops.longest) {
				hops.longest = way
			}
			return
		case strings.HasPrefix(name, ours) && !tests.MatchString(name):
			way = append(way, strings.TrimPrefix(name, ours))
		}
		if !more {
			return
		}
	}
}

// first returns names without repetitions, each where it stands first.
func first(names []string) (unique []string) {
	for _, name := range names {
		if !slices.Contains(unique, name) {
			unique = append(unique, name)
		}
	}
	return unique
}
