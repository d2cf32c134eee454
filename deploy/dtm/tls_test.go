package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/dtm-labs/dtm/client/dtmgrpc/dtmgpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mtls"
	"example.com/fourfold/chassis/mtls/mtlstest"
)

// TestTLS: with certificates the coordinator is called, and calls, with TLS only, and so are its connections to a database that takes no others.
// Its admin port stays as it is, for probes.
func TestTLS(t *testing.T) {
	t.Parallel()
	ours := mtlstest.New(t)
	own, databases, order := ours.Issue(t, "127.0.0.1"), ours.Issue(t, "127.0.0.1"), ours.Issue(t, "127.0.0.1")
	db, err := mysqltest.Start("--ssl-cert="+databases.Cert, "--ssl-key="+databases.Key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Stop)
	for _, stmt := range []string{"CREATE USER coordinator@'127.0.0.1' REQUIRE SSL", "GRANT ALL ON *.* TO coordinator@'127.0.0.1'"} {
		if err := db.Exec(t.Context(), stmt); err != nil {
			t.Fatal(err)
		}
	}
	c := start(t, append(emptyDatabase(t, db), "STORE_USER=coordinator", "MYSQL_CA="+ours.File,
		"TLS_CERT="+own.Cert, "TLS_KEY="+own.Key, "TLS_CA="+own.CA)...)
	connect := func(certificates mtls.Config) (*grpc.ClientConn, credentials.TransportCredentials) {
		creds, err := certificates.Credentials()
		if err != nil {
			t.Fatal(err)
		}
		conn, err := grpc.NewClient("passthrough:///"+c.grpc, grpc.WithTransportCredentials(creds))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn, creds
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	plain, _ := connect(mtls.Config{})
	if _, err := dtmgpb.NewDtmClient(plain).NewGid(ctx, &emptypb.Empty{}); status.Code(err) != codes.Unavailable ||
		!strings.Contains(err.Error(), "if it has TLS_CERT, TLS_KEY and TLS_CA") {
		t.Errorf("a call without TLS: %v", err)
	}
	conn, creds := connect(order)
	c.DtmClient = dtmgpb.NewDtmClient(conn)

	p := newParticipant(t)
	stop := p.serve(t)
	submit(t, c, prepare(t, c, p, "encrypted", 8))
	eventually(t, 10*time.Second, "a participant without TLS is not called", func() bool {
		return strings.Contains(c.output.String(), p.addr+" speaks no TLS, and this process does")
	})
	if n := p.got("Confirm", "encrypted"); n != 0 {
		t.Errorf("it was called %d times", n)
	}
	stop()
	p.serve(t, grpc.Creds(creds))
	eventually(t, 20*time.Second, "the participant is called with TLS", func() bool { return c.status("encrypted") == "succeed" })
	if n := p.got("Confirm", "encrypted"); n != 1 {
		t.Errorf("it was confirmed %d times", n)
	}
}
