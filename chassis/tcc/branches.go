package tcc

import (
	"database/sql"
	"fmt"
	"time"

	branchv1 "example.com/fourfold/api/branch/v1"
	"example.com/fourfold/chassis/alert"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/chassis/service"
)

// Branches are one service's part in global transactions. Its participants share keys and the table barrier.
type Branches struct {
	Keys    mac.Keys
	db      *sql.DB
	missing *Missing
	subject string
}

// OpenBranches returns the branches of svc, whose database, with Tables, is db. keys is parsed by mac.Parse; subject names what transactions are
// about in log lines and spans, "order" for example. From Run on, svc deletes barrier rows older than keep (at least MinKeepBarrier, 0 for
// never), raises an alert while a Confirm or Cancel finds nothing tried, and tells the holders of a key how far a branch has come. svc's gRPC
// server must have ServerOption, and its branches be registered by Registrar.
func OpenBranches(svc *service.Service, db *sql.DB, alerts *alert.Alerts, subject, keys string, keep time.Duration) (*Branches, error) {
	parsed, err := mac.Parse(keys)
	if err != nil {
		return nil, fmt.Errorf("branch_keys: %w", err)
	}
	old, err := BarrierRetention(keep)
	if err != nil {
		return nil, fmt.Errorf("keep.barrier: %w", err)
	}
	svc.Go(database.Retain(db, old))
	missing := NewMissing(db, alerts)
	svc.Go(missing.Watch)
	branchv1.RegisterBarrierServer(svc.GRPC, NewBarrier(parsed, db))
	return &Branches{Keys: parsed, db: db, missing: missing, subject: subject}, nil
}

// Participant returns the participant called name, a word for logs and metrics.
func (b *Branches) Participant(name string) *Participant {
	p := NewParticipant(name, b.db, b.Keys).Report(b.missing)
	p.subject = b.subject
	return p
}
