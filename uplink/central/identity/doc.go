// Package identity knows the depots that were added at run time: who they are, with
// which key each proves it, and which session it has.
//
// A depot is enrolled with a one-time token, of which only a hash is kept: the
// gateway registers the public half of its Ed25519 key (enrol.go). The same token
// with the same key gets the same answer, so a power cut on the way burns none; with
// another key, late, or for another depot it is refused. A join token serves a
// series of depots. With its key the gateway signs a nonce, which any process of the
// centre can check (seal.go), and gets a session (session.go): the bearer token of
// all other calls. A depot has one live session. Nothing here depends on a gateway's
// clock, and nothing ends while a gateway is offline but what was revoked.
//
// A boot, one start of one agent, that comes back after another one has taken its
// place is a second machine with the same identity: it is refused, and an alarm
// tells. Revoking ends sessions at once; ended.go keeps what was ended beside the
// store, so that a restored backup does not bring it back.
//
// The state stands behind Store (store.go), of which Journal is the one for a single
// process. It must never keep or log a token, a session or a private key.
package identity
