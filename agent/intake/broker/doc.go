// Package broker is the MQTT broker that the agent runs itself: devices publish to it
// and their PUBACK is our fsync.
//
//   - An acknowledgement (PUBACK, PUBREC) goes out only after the outbox's commit,
//     in order of arrival within a connection; PUBCOMP only after PUBREC.
//   - Without room publishes are held, up to a bound in number and time; then the
//     connection is closed and new ones are refused until there is room. A device
//     sends again on its next connection.
//   - A new session is written before its CONNACK, and outlives the connection and the
//     process; what changes in it later is written within seconds. Where the disk
//     takes no file devices are let in all the same, and the log says so.
//   - A QoS 2 publish is the same one only with the same packet id and content.
//   - Everything a client can take is bounded: connections in all and of an address,
//     packets, sessions, what waits, its rate, the passwords it tries, what it can
//     make the log say.
//   - It forwards nothing: who subscribes hears nothing of other devices, only our
//     own requests to be born again.
//
// A connection has two goroutines: its reader (conn.go, login.go, serve.go), and its
// queue's (queuerun.go), which writes acknowledgements. Sessions are in session.go.
//
// It must never acknowledge from the outbox's callback, which would let a slow
// device stop the committer, and never log a payload.
package broker
