// Package launch starts a version of the agent: "scanrelay launch", which is what
// systemd starts, from the package and without privileges. It reads what root and the
// agent's user wrote down, decides, looks whether the binary is the one that was
// verified, and becomes it.
//
// It promises that
//   - some version runs: a candidate that ends goes back, what is damaged or cannot be
//     executed is left for the next, and the last is the packaged one, which is this
//     program: TestChoose, TestTries, TestSpoilt;
//   - a try is counted, on disk, before it begins, or does not begin: TestUncounted;
//   - a version that ended three times within an hour, not as planned, is gone back
//     from: TestThreeUnplannedEnds. A power cut is no such end;
//   - the packaged version runs where it is newer than the committed one;
//   - nothing runs whose digest is not the one that root wrote down: TestSpoilt.
//
// Only decisions are here; whether a trial passes the version says itself (package
// trial). It must never write to root's folder, nor need the network.
package launch
