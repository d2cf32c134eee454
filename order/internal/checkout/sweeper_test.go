package checkout_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/order/internal/checkout"
	"example.com/fourfold/order/internal/mysql"
)

// TestJudge tests every status of the coordinator with every state of the attempt.
func TestJudge(t *testing.T) {
	t.Parallel()
	var (
		untouched = mysql.Progress{Open: true}
		held      = mysql.Progress{Open: true, Held: true}
		ended     = mysql.Progress{}
	)
	for status, want := range map[tcc.Status]map[mysql.Progress]checkout.Verdict{
		tcc.Unknown:   {untouched: "abandon", held: "alarm", ended: "wait"},
		tcc.Failed:    {untouched: "abandon", held: "alarm", ended: "wait"},
		tcc.Succeeded: {untouched: "alarm", held: "alarm", ended: "wait"},
		tcc.Prepared:  {untouched: "wait", held: "wait", ended: "wait"},
		tcc.Submitted: {untouched: "hasten", held: "hasten", ended: "wait"},
		tcc.Aborting:  {untouched: "hasten", held: "hasten", ended: "wait"},
	} {
		for progress, v := range want {
			assert.Equal(t, v, checkout.Judge(status, progress), fmt.Sprintf("%s, %+v", status, progress))
		}
	}
}
