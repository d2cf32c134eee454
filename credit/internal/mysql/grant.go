package mysql

import (
	"fmt"
	"maps"
	"slices"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/batch"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/credit/internal/account"
)

// Granting is a payment's call of credit: the entry that Try prepares. Confirm and Cancel need none, they find it in the rows.
type Granting = tcc.Of[account.Entry]

// PrepareAdd is the Try of payments: it promises the points of their entries, and creates the account with a member's first one. It refuses with
// account.ErrFrozen while the account is frozen, and with account.ErrFull.
func (s *Store) PrepareAdd() batch.Work[Granting] {
	accounts := map[string]account.Account{}
	return batch.Work[Granting]{
		Read: func(items []*batch.Item[Granting]) []batch.Statement {
			members := map[string]bool{}
			for _, i := range items {
				members[i.Request.Request.MemberID] = true
			}
			in, args := database.In(slices.Sorted(maps.Keys(members)))
			return []batch.Statement{batch.Find("SELECT member_id, credit, prepare_add_credit, prepare_deduct_credit, frozen FROM credit_account FORCE INDEX (PRIMARY)"+
				" WHERE member_id IN ("+in+") ORDER BY member_id FOR UPDATE", args, func(scan func(...any) error) error {
				var a account.Account
				err := scan(&a.MemberID, &a.Credit, &a.PrepareAdd, &a.PrepareDeduct, &a.Frozen)
				accounts[a.MemberID] = a
				return err
			})}
		},
		Write: func(items []*batch.Item[Granting]) ([]batch.Statement, error) {
			promised, created := map[string]int64{}, map[string]int64{}
			var entries, fresh batch.Values
			for _, i := range items {
				e := i.Request.Request
				a, known := accounts[e.MemberID]
				switch {
				case a.Frozen:
					i.Refuse(fmt.Errorf("%w: member %s", account.ErrFrozen, e.MemberID))
					continue
				case a.Credit > account.MaxBalance-e.Points-a.PrepareAdd-a.PrepareDeduct-created[e.MemberID]:
					i.Refuse(fmt.Errorf("%w: member %s", account.ErrFull, e.MemberID))
					continue
				case known:
					a.PrepareAdd += e.Points
					accounts[e.MemberID] = a
					promised[e.MemberID] += e.Points
				default:
					created[e.MemberID] += e.Points
				}
				entries.Add(e.Source, e.MemberID, i.Request.GID, e.Points, string(account.PrepareAdd.Transition().To))
			}
			for _, member := range slices.Sorted(maps.Keys(created)) {
				fresh.Add(member, created[member])
			}
			writes := append(entries.Into("credit_entry (source, member_id, gid, points, status)"),
				fresh.Into("credit_account (member_id, prepare_add_credit)")...)
			return append(writes, book(promised, func(member string, points int64) batch.Statement {
				return batch.Change("UPDATE credit_account SET prepare_add_credit = prepare_add_credit + ? WHERE member_id = ?", points, member)
			})...), nil
		},
	}
}

// ConfirmAdd is the Confirm of payments: what their Try promised can be spent. It refuses with tcc.ErrNotTried where nothing is promised.
func (s *Store) ConfirmAdd() batch.Work[Granting] {
	return settle(account.ConfirmAdd, func(member string, points int64) batch.Statement {
		return batch.Change("UPDATE credit_account SET prepare_add_credit = prepare_add_credit - ?, credit = credit + ? WHERE member_id = ?",
			points, points, member)
	})
}

// CancelAdd is the Cancel of payments: it drops what their Try promised. It refuses with tcc.ErrNotTried where nothing is promised.
func (s *Store) CancelAdd() batch.Work[Granting] {
	return settle(account.CancelAdd, func(member string, points int64) batch.Statement {
		return batch.Change("UPDATE credit_account SET prepare_add_credit = prepare_add_credit - ? WHERE member_id = ?", points, member)
	})
}

// settle takes the entries of payments through event and books their points, what their Try wrote, whatever the request says now.
func settle(event account.Event, change func(member string, points int64) batch.Statement) batch.Work[Granting] {
	t := event.Transition()
	type prepared struct{ source, gid string }
	entries, lost := map[prepared]account.Entry{}, map[prepared]bool{}
	return batch.Work[Granting]{
		Read: func(items []*batch.Item[Granting]) []batch.Statement {
			in, args := tcc.Subjects(items)
			return []batch.Statement{batch.Find("SELECT source, gid, member_id, points,"+
				" EXISTS (SELECT 1 FROM credit_account a WHERE a.member_id = e.member_id) FROM credit_entry e FORCE INDEX (PRIMARY) WHERE source IN ("+in+
				") AND status = ? ORDER BY source FOR UPDATE", append(args, string(t.From)), func(scan func(...any) error) error {
				var p prepared
				var e account.Entry
				var known bool
				err := scan(&p.source, &p.gid, &e.MemberID, &e.Points, &known)
				entries[p], lost[p] = e, !known
				return err
			})}
		},
		Write: func(items []*batch.Item[Granting]) ([]batch.Statement, error) {
			points := map[string]int64{}
			var writes []batch.Statement
			for _, i := range items {
				p := prepared{i.Request.Subject, i.Request.GID}
				e, tried := entries[p]
				if !tried {
					i.Refuse(tcc.ErrNotTried)
					continue
				}
				if lost[p] {
					i.Refuse(fmt.Errorf("member %s has no account, and the entry of order %s", e.MemberID, p.source))
					continue
				}
				delete(entries, p) // booked once, whatever else calls itself a branch of it
				points[e.MemberID] += e.Points
				writes = append(writes, batch.Change("UPDATE credit_entry FORCE INDEX (PRIMARY) SET status = ? WHERE source = ? AND gid = ? AND status = ?",
					string(t.To), i.Request.Subject, i.Request.GID, string(t.From)))
			}
			return append(writes, book(points, change)...), nil
		},
	}
}

// book returns the changes of the members' accounts, in the order of their ids.
func book(points map[string]int64, change func(member string, points int64) batch.Statement) (all []batch.Statement) {
	for _, member := range slices.Sorted(maps.Keys(points)) {
		all = append(all, change(member, points[member]))
	}
	return all
}
