// Package mq keeps a service's messages as rows of its database: what follows from a local transaction happens once in effect, whichever process
// dies and whatever the transport.
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
//	VOID: the broker asked about a local transaction whose time was over; because of this row it cannot happen any more.
//	DROPPED: the broker refused the event for good, and a person did without it.
//
// Every delivery ends in an inbox row, which is written in the local transaction of the effect:
//
//	delivered --effect--> DONE
//	    |  \--a newer one of its subject had its effect--> OLD
//	    v
//	 WAITING --effect--> DONE          for its turn, or after a failure for its next try; pauses grow
//	    |  ^
//	    v  | Redrive
//	  DEAD      failed as often as it may, or waited for an hour; Discard --> DROPPED
//
// The message is acknowledged when the row is committed. So the transport need only do what brokers are good at: store an event, and deliver it
// at least once. Events that come twice, late or out of order are the inbox's business. transport.go says what a transport must promise; package
// rocketmq is one, and a Bus is a service's end of it.
//
// schema has the tables; README.md shows how a service uses the package.
package mq
