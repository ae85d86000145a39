// Package look is the commands that look into an agent, or, where none runs, into its
// store: status, trace, events, deadletter, quarantine, store, log-level.
//
// It promises that
//   - a look changes nothing; what changes something needs a running agent, and says how
//     much it was;
//   - personal data is masked unless --reveal says otherwise;
//   - events and quarantine list take the same memory however much there is, but for
//     --limit's lines, which are bounded: TestNewestAreShown, TestLimitIsBounded.
package look
