package filter_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/mq/filter"
)

func TestFilter(t *testing.T) {
	t.Parallel()
	event := map[string]string{"id": "e1", "type": "order.paid", "sequence": "7", "region": "eu", "amount": "20", "name": "it's",
		"flag": "true", "inf": "x"}
	for text, want := range map[string]bool{
		"region = 'eu'":                       true,
		"region = 'us'":                       false,
		"region <> 'us' AND amount > 10":      true,
		"amount > 10 AND amount < 20":         false,
		"amount >= 20 and amount <= 20.0":     true,
		"amount = 20.0":                       true,
		"amount > -1":                         true,
		"amount > '9'":                        false, // strings have no order
		"sequence = '07'":                     false,
		"amount = '20.0'":                     false,
		"flag = TRUE":                         true,
		"flag = false":                        false,
		"inf = 'x' AND inf IS NOT NULL":       true,
		"region > 1":                          false, // not a number, so the result is unknown
		"NOT region > 1":                      false,
		"amount BETWEEN 10 AND 20":            true,
		"amount NOT BETWEEN 10 AND 20":        false,
		"region IN ('us', 'eu')":              true,
		"region NOT IN ('us', 'eu')":          false,
		"type = 'order.paid'":                 true,
		"sequence = 7":                        true,
		"name = 'it''s'":                      true,
		"NOT region = 'us'":                   true,
		"NOT (region = 'eu' OR amount = 1)":   false,
		"region = 'us' OR amount = 20":        true,
		"region='us' AND amount=1 OR id='e1'": true,
		"missing IS NULL":                     true,
		"region IS NULL":                      false,
		"region IS NOT NULL":                  true,
		// A comparison with a missing property is neither true nor false.
		"missing = 'x'":                   false,
		"missing <> 'x'":                  false,
		"NOT missing = 'x'":               false,
		"missing NOT IN ('x')":            false,
		"missing = 'x' OR region = 'eu'":  true,
		"missing = 'x' AND region = 'eu'": false,
		"region > 'a'":                    false, // strings have no order
	} {
		f, err := filter.Parse(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, f.Matches(event), text)
	}
	for _, text := range []string{" ", "region", "region =", "= 'eu'", "region = 'eu", "region = 'eu' AND", "(region = 'eu'", "region = 'eu')",
		"region IN", "region IN ()", "region IN ('a'", "amount BETWEEN 1", "amount BETWEEN 1 OR 2", "region LIKE 'e%'", "region == 'eu'",
		"AND = 1", "region = NULL", "region = <= 1", "region = 1x", "NOT", "a = 1; b = 2"} {
		_, err := filter.Parse(text)
		assert.ErrorContains(t, err, "filter", text)
	}
}
