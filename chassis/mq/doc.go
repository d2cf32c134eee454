// Package mq is the one way to the message broker: what follows a local transaction happens once in effect, whatever dies.
//
// An event leaves through an outbox row, which is written in the local transaction that makes the event true:
//
//	             Append                         PublishInTx
//	               |              half message --> local transaction --> end message
//	               v                                     |
//	             READY                                  HALF
//	               |  relay: the broker has it           |  asked back and answered in time,
//	               v                                     |  or the relay, when the grace is over
//	              SENT <---------------------------------+
//
//	VOID: the broker asked about a local transaction that had not come in its time; with this row it cannot come any more.
//
// Every delivery ends in an inbox row, which is written in the local transaction of the effect:
//
//	delivered --effect--> DONE
//	    |  \--a newer one of its subject had its effect--> OLD
//	    v
//	 WAITING --effect--> DONE          for its turn, or after a failure for its next try; pauses grow
//	    |  ^
//	    v  | Redrive
//	  DEAD      failed as often as it may; Discard --> OLD
//
// The broker is acknowledged when the row is committed. So it is asked for nothing but what it is good at: to have an event on disk, and to
// deliver it at least once. Twice, late and out of order are the inbox's business.
//
// The client library's types and traps stay inside: one instance a client, no retries of its own, subjects kept in one queue,
// panics and hangs contained, handlers drained. schema/0001_mq.sql has the tables; README.md says how a service begins.
package mq
