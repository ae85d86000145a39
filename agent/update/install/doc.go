// Package install hands a version over to root, and is what root does with it: copies
// what was staged, verifies the copy, puts it into a folder of its own and writes the
// record; on another request it commits a candidate, goes back, or bars a digest.
//
// It promises that
//   - root follows no link that the agent's user made, copies no more than a bound, and
//     waits for no pipe: TestHostileFolder;
//   - what is installed is the copy that was verified, byte for byte, and it is never
//     older than what runs, nor barred: TestRefused;
//   - a power cut at any moment leaves a gateway that starts a good version, and the
//     request done once: TestPowerCut;
//   - whatever was asked is answered in the record, with the reason of a refusal, and
//     the request is gone: TestRefused;
//   - what is committed, was committed before, or is to be tried is never removed.
//
// Root needs no privilege for it: the folder of the versions is root's own, and it may
// read and empty the agent's folder as a member of the agent's group. It must never use
// the network.
package install
