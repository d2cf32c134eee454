package participant

import (
	"strconv"

	"google.golang.org/protobuf/proto"

	creditv1 "example.com/fourfold/api/credit/v1"
	"example.com/fourfold/order/internal/order"
)

// credit prepares points and adds them; a refund deducts them again.
func credit() Participant {
	grant := func(o order.Order) proto.Message {
		return &creditv1.CreditGrantRequest{OrderId: o.ID, MemberId: o.MemberID, Points: o.Points}
	}
	deduct := func(o order.Order) proto.Message {
		return &creditv1.CreditDeductionRequest{OrderId: o.ID, MemberId: o.MemberID, Points: o.Points}
	}
	return Participant{
		Name: "credit",
		Payment: Branch{
			Try:       creditv1.CreditGrant_Try_FullMethodName,
			Confirm:   creditv1.CreditGrant_Confirm_FullMethodName,
			Cancel:    creditv1.CreditGrant_Cancel_FullMethodName,
			Request:   grant,
			Refusals:  map[order.Reason]string{order.CreditRefused: "your points account does not accept points"},
			Otherwise: order.CreditRefused,
		},
		Refund: Branch{
			Try:       creditv1.CreditDeduction_Try_FullMethodName,
			Confirm:   creditv1.CreditDeduction_Confirm_FullMethodName,
			Cancel:    creditv1.CreditDeduction_Cancel_FullMethodName,
			Request:   deduct,
			Refusals:  map[order.Reason]string{order.CreditRefused: "the points of this order are spent, or your points account is frozen"},
			Otherwise: order.CreditRefused,
		},
		Settled: "ADDED",
		Facts:   func(r order.Record) []string { return []string{strconv.FormatInt(r.Points, 10)} },
	}
}
