// Package packet reads what an MQTT client sends and writes what a server answers:
// MQTT 3.1, 3.1.1 and 5 as bytes, pure.
//
//   - Whatever the bytes are, reading ends with a packet or with an Error that says
//     what is wrong and how MQTT 5 numbers it; nothing panics.
//   - Nothing is allocated for what a packet only announces: its length is checked
//     by the caller first.
//
// It knows only what a server that takes publishes needs. It must never hold state
// of a connection.
package packet
