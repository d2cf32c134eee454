// Package mq is a service's messages as rows of its database: what follows a local transaction happens once in effect, whatever
// dies, and whatever transports it.
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
//	               \-- Resend --> READY
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
// The transport is acknowledged when the row is committed. So it is asked for nothing but what it is good at: to have an event on disk, and
// to deliver it at least once. Twice, late and out of order are the inbox's business. transport.go says what it must promise; package
// rocketmq is one, and a Bus is a service's end of it.
//
// schema/0001_mq.sql has the tables; README.md says how a service begins.
package mq
