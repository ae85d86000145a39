// Package source takes scans from an external MQTT broker. A Source keeps one
// persistent session at the first broker of its list that takes it, gives each
// message to a pipe, and acknowledges by hand, in order of arrival, after the
// commit.
//
//   - A broker that is away, refuses or hangs is reported and tried again; of
//     several an earlier one that can be reached again is returned to.
//   - Without room the session ends and is opened again once there is some: in
//     MQTT 3.1.1 what is not acknowledged comes again on the next connection only.
//   - What waits for its commit is bounded by bytes.
//   - A stop lets the broker read every acknowledgement before the connection ends.
//   - A session that a broker has lost is told, also one lost while no agent ran, and
//     which filter it refuses.
//   - Its handler runs on paho's only reader and never blocks; the outbox's
//     callback never writes to the connection.
package source
