// Package syncapi is what an agent and its centre say to each other: the wire
// types of POST /v1/sync, their conversion to and from package scan, and the
// agent's client; and those of enrolment and sessions (identity.go). It owns the wire format and its version; it decides nothing.
//
// The agent posts gzipped JSON, Authorization: Bearer <session or depot token>. Everything
// in it is idempotent: sending a request twice is as good as sending it once.
// Sequence numbers, epochs, answers and declarations are described in the README
// of package uplink, "The sync protocol".
//
// No error of the client holds the credential, nor anything of an event.
package syncapi
