// Package broker is the MQTT broker that the agent runs itself (mochi-mqtt, under
// hooks): devices publish to it and their PUBACK is our fsync.
//
//   - An acknowledgement (PUBACK, PUBREC) goes out only after the outbox's commit,
//     in order of arrival within a connection.
//   - Without room publishes are held, up to a bound in number and time; then the
//     connection is closed and new ones are refused until there is room. A device
//     sends again on its next connection.
//   - Everything a client can take is bounded: connections, packets, what waits,
//     its rate, what it can make the log say.
//   - It forwards nothing: who subscribes hears nothing of other devices, only our
//     own requests to be born again.
//
// It must never acknowledge from the outbox's callback, which would let a slow
// device stop the committer, and never log a payload.
package broker
