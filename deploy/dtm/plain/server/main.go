//go:build plain

// Command server is DTM's server as it was published, which the benchmark compares ours with. It runs DTM's own start, without the discovery
// drivers and the pages for people, which no payment meets. Only ../build.sh makes it: as published it listens on every address.
package main

import "github.com/dtm-labs/dtm/dtmsvr/entry"

func main() {
	var version string
	if app, _ := entry.Main(&version); app != nil {
		select {}
	}
}
