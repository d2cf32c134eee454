package fanin

import (
	"context"
	"slices"
	"strconv"
	"strings"

	mqv1 "example.com/fourfold/api/mq/v1"
	"example.com/fourfold/chassis/page"
)

// ListDeadLetters merges a page of each service into one, oldest first. A service that does not answer keeps its place for the next page.
func (c *Conn) ListDeadLetters(ctx context.Context, req *mqv1.ListDeadLettersRequest) (*mqv1.ListDeadLettersReply, error) {
	list := page.Of("dead letters", req.GetGroup())
	at, err := c.places(list, req.GetPageToken())
	if err != nil {
		return nil, mqv1.ErrorMessagesInvalid("%v", err)
	}
	size := int(page.Size(req.GetPageSize()))
	replies, unreachable, err := all(ctx, c, func(ctx context.Context, p peer) (*mqv1.ListDeadLettersReply, error) {
		r := &mqv1.ListDeadLettersRequest{Group: req.GetGroup(), PageSize: int32(size)}
		if n := at[p.name]; n > 0 {
			r.PageToken = page.DeadLetters(p.name, req.GetGroup()).Token(strconv.FormatInt(n, 10))
		}
		return p.ListDeadLetters(ctx, r)
	})
	if err != nil {
		return nil, err
	}
	merged, more := &mqv1.ListDeadLettersReply{Unreachable: unreachable}, false
	rest := make([][]*mqv1.DeadLetter, len(replies))
	for i, r := range replies {
		rest[i] = r.GetDeadLetters()
		more = more || r.GetNextPageToken() != ""
	}
	for len(merged.DeadLetters) < size {
		oldest := -1
		for i, letters := range rest {
			if len(letters) > 0 && (oldest < 0 || letters[0].GetAt().AsTime().Before(rest[oldest][0].GetAt().AsTime())) {
				oldest = i
			}
		}
		if oldest < 0 {
			break
		}
		letter := rest[oldest][0]
		rest[oldest] = rest[oldest][1:]
		merged.DeadLetters = append(merged.DeadLetters, letter)
		if _, n, ok := split(letter.GetId()); ok {
			at[c.services[oldest].name] = n
		}
	}
	if more || slices.ContainsFunc(rest, func(letters []*mqv1.DeadLetter) bool { return len(letters) > 0 }) {
		merged.NextPageToken = list.Token(position(at))
	}
	return merged, nil
}

// position says how far each service was read.
func position(at map[string]int64) string {
	var places []string
	for name, n := range at {
		places = append(places, name+"="+strconv.FormatInt(n, 10))
	}
	slices.Sort(places)
	return strings.Join(places, ",")
}

// places returns how far each service was read before the page of token; "" is the first page.
func (c *Conn) places(list page.List, token string) (map[string]int64, error) {
	at := map[string]int64{}
	position, err := list.After(token)
	if err != nil || position == "" {
		return at, err
	}
	for place := range strings.SplitSeq(position, ",") {
		name, text, _ := strings.Cut(place, "=")
		n, ok := page.Number(text)
		if _, twice := at[name]; !ok || twice || !slices.ContainsFunc(c.services, func(p peer) bool { return p.name == name }) {
			return nil, page.ErrToken
		}
		at[name] = n
	}
	return at, nil
}
