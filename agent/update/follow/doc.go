// Package follow is the running agent's part in what the centre wants of its version: it
// brings what comes next on the way there and hands it to root, says when it may be
// tried, goes back where the centre says so, and tells people and the centre how all that
// stands.
//
// It promises that
//   - what is handed to root was verified with its metadata, and comes over the line no
//     faster than it may; a break costs no more than what had not come: TestBrought,
//     TestBrokenLine;
//   - a digest that is barred is not brought again, and one that was handed over not
//     twice: TestBarred, TestBrought;
//   - what the centre asked for is tried only while it asks for it and neither holds nor
//     the window is closed; what a person applied waits for holds alone: TestHolds;
//   - the way to a version is walked one step, and one trial, after the other: TestWalk;
//   - it goes back only to what was committed before, and nothing older is brought:
//     TestBack.
//
// It has root's half as well: how the copy is verified anew ([Verifier]). Whatever fails is tried again later and never stops what runs. One goroutine, Run's,
// owns all of it; a download has another, which that one waits for. Whether a version
// passes is package trial's.
package follow
