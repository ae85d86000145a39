// Package identity is who a depot is towards its centre: an Ed25519 key in
// data_dir/identity, of which the centre knows the public half, and the sessions that
// the key makes.
//
// A key is on disk before the centre hears of it, and takes the place of the one
// before only when the centre has given it a session: a power cut at any moment
// leaves a depot that goes on, or that sends the same request again. A key that was
// begun is given up for no other: only the centre knows whether it counts. A token
// that was used once is not sent again, and one process at a time changes the keys: an
// agent that runs, or a command. Nothing depends
// on the gateway's clock. What is wrong with enrolment or session is an error of the
// sync that needs it, and is tried again with the next: scans are taken all the same.
//
// It also refuses a data_dir that belongs to another depot. It must never send a
// private key anywhere, nor a proof over a wire in clear, nor log a token.
package identity
