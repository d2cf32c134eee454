package demo

import (
	"context"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// outageCase is part of TestDemo: what the scene of an outage shows is what is in testdata, and what it counts may turn out wrong.
func outageCase(t *testing.T, d *Demo) {
	ctx := t.Context()
	v := openWay(d.target.Queues)
	defer func() { _ = v.rdb.Close() }()
	before, err := v.changes(ctx, time.Time{})
	require.NoError(t, err)
	t.Logf("changes of the mode before: %v", before) // on a busy machine the broker may have stood still
	var text strings.Builder
	require.NoError(t, d.Outage(ctx, &text, false), "%s", &text)
	t.Log(text.String())
	want, err := os.ReadFile("testdata/outage.txt")
	require.NoError(t, err)
	assert.Equal(t, string(want), normalOutage(text.String()))
	for line := range strings.Lines(text.String()) {
		assert.LessOrEqual(t, utf8.RuneCountInString(strings.TrimRight(line, "\n")), 80, line)
	}
	assert.Regexp(t, `NORMAL → DEGRADED +\w+-\d+ +\d\d?\.\d\d s\n +\d+ sends in a row failed within`, text.String())
	assert.Regexp(t, `DEGRADED → DRAINING +\w+-\d+ +\d+\.\d\d s\n +the broker takes events again\n`, text.String())
	assert.Regexp(t, `DRAINING → NORMAL +\w+-\d+ +\d+\.\d\d s\n +the queues are empty\n\n`, text.String())
	id := regexp.MustCompile(`member ([0-9a-f-]{36}) buys`).FindStringSubmatch(text.String())
	require.Len(t, id, 2)

	t.Run("what is wrong is counted", func(t *testing.T) {
		right, err := d.count(ctx, id[1])
		require.NoError(t, err)
		assert.Greater(t, right.events, 20)
		assert.Greater(t, right.effects, 10)
		for name, c := range map[string]struct {
			database, wrong, right string
			lost, doubled          int
			told                   string
		}{
			"a group did not handle it": {"shop_notify", "UPDATE mq_inbox SET state = 'GONE' WHERE grp = 'notify-sms' AND subject = ?",
				"UPDATE mq_inbox SET state = 'DONE' WHERE grp = 'notify-sms' AND subject = ?", 1, 0, "notify-sms is missing"},
			"it was never published": {"shop_member", "UPDATE mq_outbox SET topic = 'elsewhere' WHERE subject = ?",
				"UPDATE mq_outbox SET topic = 'member-events' WHERE subject = ?", 3, 0, "credit-registration is missing"},
			"points came twice": {"shop_credit", `INSERT INTO credit_entry (source, member_id, gid, points, status)
					SELECT 'registration:twice', member_id, '', points, status FROM credit_entry
					WHERE member_id = ? AND source LIKE 'registration:%'`,
				"DELETE FROM credit_entry WHERE source = 'registration:twice' AND member_id = ?", 0, 1, "points happened 2 times"},
			"points did not come": {"shop_credit",
				"UPDATE credit_entry SET status = 'GONE' WHERE source LIKE 'registration:%' AND member_id = ?",
				"UPDATE credit_entry SET status = 'ADDED' WHERE source LIKE 'registration:%' AND member_id = ?", 1, 0, "points is missing",
			},
			"an e-mail was sent twice": {"shop_notify", `INSERT INTO notification
					(id, source, event_id, event_type, channel, recipient, subject, body, state)
					SELECT 'twice', n.source, 'twice', n.event_type, n.channel, n.recipient, n.subject, n.body, n.state FROM notification n
					JOIN contact c ON c.email = n.recipient WHERE n.event_type = 'order.paid' AND c.member_id = ? LIMIT 1`,
				"DELETE FROM notification WHERE id = 'twice' AND ? <> ''", 0, 1, "e-mail happened 2 times"},
		} {
			t.Run(name, func(t *testing.T) {
				db := openDB(t, running(d).DSN(c.database))
				_, err := db.ExecContext(ctx, c.wrong, id[1])
				require.NoError(t, err)
				got, err := d.count(ctx, id[1])
				require.NoError(t, err)
				_, err = db.ExecContext(ctx, c.right, id[1])
				require.NoError(t, err)
				assert.Equal(t, []int{c.lost, c.doubled}, []int{got.lost, got.doubled}, got.wrong)
				var text strings.Builder
				require.ErrorIs(t, got.write(page{&text, false}), ErrOnce)
				assert.Contains(t, text.String(), c.told)
				again, err := d.count(ctx, id[1])
				require.NoError(t, err)
				assert.Equal(t, right, again)
			})
		}
		require.ErrorIs(t, tally{}.write(page{&text, false}), ErrOnce, "nothing that was counted is nothing shown")
	})
	t.Run("every group counts", func(t *testing.T) {
		var groups, counted []string
		for _, service := range []string{"order", "inventory", "credit", "wms", "member", "notify"} {
			require.NoError(t, d.each(ctx, `SELECT DISTINCT grp, 1 FROM shop_`+service+`.mq_audit
				WHERE topic IN ('member-events', 'order-events')`, nil, func(group string, _ int) { groups = append(groups, group) }))
		}
		for _, q := range deliveries {
			counted = append(counted, q.what)
		}
		assert.ElementsMatch(t, groups, counted)
	})
	t.Run("interrupted", func(t *testing.T) {
		soon, cancel := context.WithCancel(ctx)
		was, err := running(d).PID(ctx, "broker")
		require.NoError(t, err)
		go func() {
			for soon.Err() == nil {
				if _, err := running(d).PID(soon, "broker"); err != nil {
					time.AfterFunc(100*time.Millisecond, cancel)
					return
				}
				time.Sleep(time.Millisecond)
			}
		}()
		err = d.Outage(soon, &text, false)
		cancel()
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorContains(t, err, "the broker is started again")
		now, err := running(d).PID(ctx, "broker")
		require.NoError(t, err)
		assert.NotEqual(t, was, now)
	})
}

// normalOutage is normal for the scene of an outage: why the broker counts as away, and through which modes it comes back, differ too.
func normalOutage(text string) string {
	for _, r := range [][2]string{
		{`(?s)(\n  switch     NORMAL → DEGRADED ).*?\n  Redis .*?\n`, "${1}WHY\n"},
		{`(?s)(after its start\n  ─+\n).*?(\n\n  BACK)`, "${1}HOW${2}"},
		{`[0-9a-f]{8}-[0-9a-f-]{27}`, "ID"},
		{`\d+\.\d\d s\b`, "N s"},
		{`\d+ (ms|events|deliveries|points, SMS|orders|of them)`, "N $1"},
		{`at most \d+ lay`, "at most N lay"},
		{`\n  It was away \d+ times in ten minutes: each time it is trusted later\.`, ""},
	} {
		text = regexp.MustCompile(r[0]).ReplaceAllString(text, r[1])
	}
	return normal(text)
}

// TestReadmeOutage: the README shows what the scene of an outage shows.
func TestReadmeOutage(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	want, err := os.ReadFile("testdata/outage.txt")
	require.NoError(t, err)
	assert.True(t, strings.Contains(normalOutage(string(readme)), "```"+string(want)+"```"), "README.md does not hold testdata/outage.txt")
}

// TestHistory: what is no change of the mode is none.
func TestHistory(t *testing.T) {
	t.Parallel()
	c, ok := parseChange("1795966591185 NORMAL -> DEGRADED by order-29095-81f57aad: 27 sends in a row failed: dial tcp")
	require.True(t, ok)
	assert.Equal(t, change{time.UnixMilli(1795966591185), byBroker, byRedis, "order-29095-81f57aad", "27 sends in a row failed: dial tcp"}, c)
	assert.Equal(t, []string{"order-29095", "ann", "anna-maria-2"}, []string{short(c.By), short("ann"), short("anna-maria-2")})
	for _, line := range []string{"", "1795966591185", `1795966591185 NORMAL forced "NORMAL" by ann: why`, "x NORMAL -> DEGRADED by ann: why"} {
		_, ok := parseChange(line)
		assert.False(t, ok, line)
	}
}

// TestWrapped: what is long goes on below, and nothing of it is lost.
func TestWrapped(t *testing.T) {
	t.Parallel()
	for _, words := range []string{"short", strings.Repeat("some words ", 30) + "end", strings.Repeat("x", 200), strings.Repeat("中文", 60)} {
		var text strings.Builder
		page{&text, false}.wrapped(words)
		lines := strings.Split(strings.TrimRight(text.String(), "\n"), "\n")
		for i, line := range lines {
			assert.LessOrEqual(t, utf8.RuneCountInString(line), 79)
			lines[i] = strings.TrimSpace(line)
		}
		assert.Equal(t, strings.ReplaceAll(words, " ", ""), strings.ReplaceAll(strings.Join(lines, ""), " ", ""))
	}
}
