package fanin

import (
	"context"
	"encoding/base64"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"

	mqv1 "example.com/fourfold/api/mq/v1"
	"example.com/fourfold/chassis/page"
)

// ListDeadLetters merges a page of each service into one, oldest first. A service that does not answer keeps its place for the next page.
func (c *Conn) ListDeadLetters(ctx context.Context, req *mqv1.ListDeadLettersRequest) (*mqv1.ListDeadLettersReply, error) {
	at, err := c.places(req.GetPageToken(), req.GetGroup())
	if err != nil {
		return nil, err
	}
	size := int(page.Size(req.GetPageSize()))
	replies, unreachable, err := all(ctx, c, func(ctx context.Context, p peer) (*mqv1.ListDeadLettersReply, error) {
		r := &mqv1.ListDeadLettersRequest{Group: req.GetGroup(), PageSize: int32(size)}
		if n := at[p.name]; n > 0 {
			r.PageToken = strconv.FormatInt(n, 10) // a service's token is the number of the last it gave
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
		merged.NextPageToken = token(at, req.GetGroup())
	}
	return merged, nil
}

// token encodes how far each service was read, with a checksum over that and group, so that a token that was changed, or comes with another
// group, is recognized.
func token(at map[string]int64, group string) string {
	var places []string
	for name, n := range at {
		places = append(places, name+"="+strconv.FormatInt(n, 10))
	}
	slices.Sort(places)
	text := strings.Join(places, ",")
	return base64.RawURLEncoding.EncodeToString([]byte(text + "," + sum(text, group)))
}

// places decodes what token encoded; "" is the first page.
func (c *Conn) places(token, group string) (map[string]int64, error) {
	at := map[string]int64{}
	if token == "" {
		return at, nil
	}
	refused := mqv1.ErrorMessagesInvalid(
		"page_token: not one of ours: take next_page_token of the page before, and the same group as there")
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	i := strings.LastIndexByte(string(raw), ',')
	if err != nil || i < 0 || sum(string(raw[:i]), group) != string(raw[i+1:]) {
		return nil, refused
	}
	for place := range strings.SplitSeq(string(raw[:i]), ",") {
		name, text, _ := strings.Cut(place, "=")
		n, ok := number(text)
		if _, twice := at[name]; !ok || twice || !slices.ContainsFunc(c.services, func(p peer) bool { return p.name == name }) {
			return nil, refused
		}
		at[name] = n
	}
	return at, nil
}

func sum(text, group string) string {
	return strconv.FormatUint(uint64(crc32.ChecksumIEEE([]byte(text+"\n"+group))), 36)
}
