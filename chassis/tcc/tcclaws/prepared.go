package tcclaws

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/dtm-labs/client/dtmgrpc/dtmgpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// Prepared does for a test's coordinator what the real one does with the branches of a Prepare: it tells the caller how many came, and returns
// the request of each by the branch's id.
func Prepared(ctx context.Context, req *dtmgpb.DtmRequest) (map[string][]byte, error) {
	var steps []struct{ Branch, Confirm, Cancel string }
	if err := json.Unmarshal([]byte(req.GetSteps()), &steps); err != nil {
		return nil, err
	}
	if len(steps) == 0 || len(steps) != len(req.GetBinPayloads()) {
		return nil, fmt.Errorf("%d branches and %d payloads", len(steps), len(req.GetBinPayloads()))
	}
	requests := map[string][]byte{}
	for i, s := range steps {
		requests[s.Branch] = req.GetBinPayloads()[i]
	}
	return requests, grpc.SetHeader(ctx, metadata.Pairs("branches", strconv.Itoa(len(steps))))
}
