package limit

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Proxies are the networks of the proxies in front of the gateway, which write X-Forwarded-For.
type Proxies []netip.Prefix

// ParseProxies reads networks and addresses, separated by commas: "10.0.0.0/8, 192.0.2.7".
func ParseProxies(text string) (Proxies, error) {
	var p Proxies
	for item := range strings.SplitSeq(text, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		network, err := netip.ParsePrefix(item)
		if addr, addrErr := netip.ParseAddr(item); addrErr == nil {
			network, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("%q is neither an address nor a network like 10.0.0.0/8", item)
		}
		p = append(p, network.Masked())
	}
	return p, nil
}

func (p Proxies) has(addr netip.Addr) bool {
	return slices.ContainsFunc(p, func(network netip.Prefix) bool { return network.Contains(addr) })
}

// Peer returns the address that a connection of remote (host:port) is counted under, as Address does without a proxy, and whether it is counted:
// those of proxies are not.
func (p Proxies) Peer(remote string) (netip.Addr, bool) {
	addr, ok := parse(remote)
	if !ok || p.has(addr) {
		return netip.Addr{}, false
	}
	return network(addr).Addr(), true
}

// network returns the network that an address counts as: itself, or its /64.
func network(addr netip.Addr) netip.Prefix {
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	prefix, _ := addr.Prefix(bits) // never fails for these
	return prefix
}

// Address returns the address that r is counted under: the peer's; when that is one of the proxies, the one that it wrote last into
// X-Forwarded-For, and so on through any number of proxies. What is before the first address that is no proxy's the client may have made up. An
// IPv6 address counts as its /64, which is what one customer of a network gets.
func (p Proxies) Address(r *http.Request) string {
	addr, ok := parse(r.RemoteAddr)
	if !ok {
		return "unknown"
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		if !p.has(addr) {
			break
		}
		before, ok := parse(strings.TrimSpace(hop))
		if !ok {
			break
		}
		addr = before
	}
	if addr.Is4() {
		return addr.String()
	}
	return network(addr).String()
}

// parse reads an address with or without a port.
func parse(text string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(strings.Trim(text, "[]"))
	if err != nil {
		port, err := netip.ParseAddrPort(text)
		if err != nil {
			return netip.Addr{}, false
		}
		addr = port.Addr()
	}
	return addr.Unmap().WithZone(""), true
}
