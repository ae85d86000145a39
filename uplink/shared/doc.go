// Package shared is what the sync relay and the push relay know and tell each
// other; beside the outbox and the valve they share nothing. Each type has one
// lock and is safe for concurrent use:
//
//   - Answers: what the centre said of waybills and their events, while it may
//     be used. The sync relay writes, the push relay reads.
//   - Bindings: which phones are bound in WeChat. Both learn, from the centre
//     and from WeChat; the sync relay reports what is news.
//   - Questions: what the push relay wants to hear from the centre, and
//     what came of it. The sync relay carries them.
//
// All of it is bounded, lives in memory and is learned again after a restart.
// It must never hold an event that is not in the outbox as well, never write
// waybill data anywhere, and keep phones in Bindings as keyed hashes only.
package shared
