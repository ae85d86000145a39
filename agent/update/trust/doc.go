// Package trust decides which program a gateway may install: it verifies a repository
// after The Update Framework 1.0.34 (TUF), chooses the next step and brings its file.
//
// A [Repository] is where the files come from: a folder ([Dir]), a server ([HTTP]) or
// one file on a USB stick ([OpenBundle]). Nothing that it gives is believed. A [State] is what
// was verified before; its owner keeps it with [File]. [Verify] takes both one step
// further, [Verified.Choose] names a [Target], [Fetch] brings its file and
// [Target.Check] looks at a copy anew. So:
//
//	var state trust.State
//	err := trust.File(path).Read(&state)       // damaged: the error names it, and
//	state, err = trust.NewState(root, built)   // the packaged root begins anew
//	v, err := trust.Verify(ctx, repository, state, time.Time{})
//	err = trust.File(path).Write(v.State)      // also after an error: what was learnt
//	target, err := v.Choose("scanrelay", "linux", "arm", "6", current, wanted)
//	err = trust.Fetch(ctx, repository, target, staged, trust.Options{MaxRate: 256 << 10})
//
// The subset of TUF: four roles, Ed25519, consistent snapshots, no delegations; length
// and SHA-256 wherever metadata names a file. What is signed is canonical JSON on the
// wire and verified as the bytes that came; keys that come twice, out of order or in
// capital letters are refused, since two readers could understand them differently. All
// that is accepted here go-tuf accepts as well: TestOracle, TestEveryByte.
//
// Time: a gateway's own clock may be at 1970 or in 2099 and does not count. Expiry is
// judged by State.Floor, which the build's date and the authenticated centre raise
// ([State.Raise], [State.Saw]) and root may lower. Metadata that has expired stops
// what would be installed, never what runs.
//
// It promises that nothing is given out as a Target or as its file unless enough
// distinct keys signed for it; that what was verified once is never replaced by
// something older; and that no repository makes it read, write or wait without a bound.
// It installs nothing and starts nothing, and must never import more than the standard
// library and leaves: it is in what gateways download.
package trust
