package checkout_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/order/internal/checkout"
	"example.com/fourfold/order/internal/mysql"
	"example.com/fourfold/order/internal/order"
)

// TestJudge walks every status of the coordinator against every state of the row.
func TestJudge(t *testing.T) {
	t.Parallel()
	var (
		payable = mysql.State{Status: order.Created, Busy: true}
		held    = mysql.State{Status: order.Updating, GID: "gid", Busy: true}
		closed  = mysql.State{Status: order.Canceled, Reason: order.ByMember, Busy: true}
		ended   = mysql.State{Status: order.Paid, GID: "gid"}
	)
	for status, want := range map[tcc.Status]map[mysql.State]checkout.Verdict{
		tcc.Unknown:   {payable: "abandon", held: "alarm", closed: "abandon", ended: "wait"},
		tcc.Failed:    {payable: "abandon", held: "alarm", closed: "abandon", ended: "wait"},
		tcc.Succeeded: {payable: "alarm", held: "alarm", closed: "alarm", ended: "wait"},
		tcc.Prepared:  {payable: "wait", held: "wait", closed: "wait", ended: "wait"},
		tcc.Submitted: {payable: "hasten", held: "hasten", closed: "hasten", ended: "wait"},
		tcc.Aborting:  {payable: "hasten", held: "hasten", closed: "hasten", ended: "wait"},
	} {
		for state, v := range want {
			assert.Equal(t, v, checkout.Judge(status, state, order.Payment, "gid"), fmt.Sprintf("%s, %+v", status, state))
		}
	}
}
