// Package bundle is "scanrelay bundle": it puts what somebody far away needs to
// understand a gateway into one file: what it does now, what doctor finds, its
// configuration, log, metrics and goroutines, and the look at its store.
//
// It promises that
//   - no secret and nothing personal is in it: TestBundle (build/e2e);
//   - what could not be had is named in its manifest, and the rest is there all the
//     same: TestWithoutAgent;
//   - it changes nothing, and a file that is there is not overwritten: TestWithoutAgent.
package bundle
