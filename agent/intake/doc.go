// Package intake takes scans from MQTT: from an external broker (Source, over
// paho) or from devices directly (Broker, mochi-mqtt embedded). A Mapper turns
// each message into scan events by configuration; a Journal, which is the
// outbox, makes them durable; only then is the message acknowledged.
//
// # What always holds
//
//   - Acknowledged is on disk (design.md I1): PUBACK and PUBREC go out only
//     after the Journal has called done without an error, in order of arrival
//     within a connection.
//   - Nothing vanishes without a count: every message ends as events, rejects or
//     reads that are none (scan.Batch); the Mapper's property test holds it.
//   - Intake waits for the Journal and for nothing else (I8). No callback of
//     paho, of mochi's other connections or of the Journal ever blocks on it.
//   - Without room acknowledgements are withheld. A withheld acknowledgement
//     never comes back by itself in MQTT 3.1.1, so what is held is acknowledged
//     once there is room, and beyond a bound the connection is closed: the other
//     side sends again on the next one.
//   - What waits in memory is bounded by bytes.
//   - A message of any size is survived: of one from an external broker that is too
//     large only the beginning is ever held (guard), a device that sends one to the
//     embedded broker is disconnected; either is counted and named.
//
// # Must never
//
// It must never acknowledge from the Journal's callback (that would let a slow
// scanner stop the committer), never log a payload, and never import the store:
// it knows the outbox as a Journal.
package intake
