// Package updates serves the repository of releases to depots: metadata and programs as
// the publisher put them into a folder (agent/update/release), nothing else that lies
// there, in ranges, to so many at once.
//
// The timestamp, which says what is newest and holds for a short time, it signs itself with
// a key of its own that the root names: so a repository in which nothing changes needs no
// publisher. What is signed was verified as a gateway does, by the keys that this centre
// has seen from the first root on: whoever can write the folder alone gets nothing signed
// but what the publisher did. Versions of the timestamp only rise, whichever process signs:
// they agree by a document that they share.
//
// It must never sign what did not verify, never serve less than before because the folder
// is being copied, and knows nothing of who is to run which release (rollout).
package updates
