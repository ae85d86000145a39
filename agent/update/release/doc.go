// Package release is the publisher's side of updates: it makes the repository that
// package trust verifies, signed step by step, wherever each key is.
//
//	DIR/1.root.json, 2.root.json …   every root there ever was; root.json is the newest
//	DIR/timestamp.json               what is newest; N.snapshot.json, N.targets.json
//	DIR/targets/…                    the programs and deltas
//	DIR/staged/ROLE.json             what still lacks signatures
//	DIR/keys/NAME.key                keys, unless they are kept elsewhere
//
// A [Repository] is the folder; [Repository.Add] and [Repository.Rotate] stage what is
// to be signed, [Repository.Sign] signs all that is a key's to sign, and publishes what
// has signatures enough: root, then targets, then the snapshot, then the timestamp,
// which alone makes gateways see any of it. What comes next follows from the files
// that are there, so a step that was interrupted is done again.
//
// A [Key] is a file of its own: the public half in clear, the private one under a
// passphrase (scrypt, secretbox). Metadata is made with go-tuf; before it is published
// go-tuf and package trust have verified it, as [Repository.Verify] does at any time.
//
// It promises that a version that was added never changes, that nothing is published
// which a gateway would refuse, and that no private key or passphrase is in a log, an
// error or metadata. The gateway build must never link it.
package release
