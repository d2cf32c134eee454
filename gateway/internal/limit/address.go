package limit

import (
	"net/http"
	"net/netip"
	"strings"
)

// Address returns the address that r is counted under: the peer's, or, behind a proxy of ours (trustForwarded), the one that the proxy wrote
// last into X-Forwarded-For; the client may have made up what is before it. An IPv6 address counts as its /64, which is what one customer of a
// network gets.
func Address(r *http.Request, trustForwarded bool) string {
	text := r.RemoteAddr
	if trustForwarded {
		if all := r.Header.Values("X-Forwarded-For"); len(all) > 0 {
			last := all[len(all)-1]
			text = strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:])
		}
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		port, err := netip.ParseAddrPort(text)
		if err != nil {
			return "unknown"
		}
		addr = port.Addr()
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is4() {
		return addr.String()
	}
	prefix, err := addr.Prefix(64)
	if err != nil {
		return addr.String()
	}
	return prefix.String()
}
