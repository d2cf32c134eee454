// Package audit compares what publishers sent with what groups received, and has sent again what is missing. A broker that says "stored" may
// lose its store, or a group its place in it; the outbox says SENT and nothing else would notice.
//
//	group's service: Auditor                            publisher: Server
//	sums of its inbox, by windows of 65 s  <-compare->  sums of its outbox, SENT for a while
//	   a window differs: which ids are not here?  <---  the ids of that window
//	   those                                      --->  READY: the relay sends them again
//
// What comes twice for that has its effect once, as always.
package audit
