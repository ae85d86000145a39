// Package intake is the way of a message from an MQTT broker to an acknowledged
// event: a Pipe maps it (package mapping), leaves repeated reads out, gives the
// batch to an Outbox, and says when it is durable. Who receives and acknowledges
// stands beside it: package source with an external broker, package broker with
// devices themselves. README.md describes devices, the mapping and brokers.
//
// # What always holds
//
//   - Acknowledged is on disk: an acknowledgement goes out only after the Outbox
//     has called done without an error, in order of arrival within a connection.
//   - Nothing vanishes without a count: every message ends as events, rejects or
//     reads that are none (scan.Batch).
//   - Intake waits for the Outbox and for nothing else, and no callback of it
//     ever blocks on a connection.
//   - Without room acknowledgements are withheld. A withheld acknowledgement
//     never comes back by itself in MQTT 3.1.1, so what is held is acknowledged
//     once there is room, and beyond a bound the connection is closed: the other
//     side sends again on the next one.
//   - What waits in memory is bounded by bytes, and a message of any size is
//     survived, counted and named.
//
// # Must never
//
// It must never log a payload, and never import the store: it knows the outbox by
// the interface Outbox.
package intake
