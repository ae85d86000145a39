// Package central is the centre: it takes the depots' events into the snapshot,
// answers WeChat's reverse lookups from it, and hands out what a push needs:
// waybill data, bindings, the access token, a share of the call rate.
//
// It owns the centre's HTTP API (README.md) and puts its rooms together; the
// sync API is its own: sync.go, syncwire.go its bounds, answer.go what is answered,
// sound.go what is refused.
//
//	caller     who makes a request
//	identity   depots that were enrolled: keys, sessions, revocations
//	audit      who did what
//	backup     copies of the store, and how one is put back
//	fleet      how depots do, and what is wrong with them
//	updates    the repository of releases
//	rollout    which gateway runs which release, and when
//	settings   configurations for gateways
//	waybills   the carrier's imports, and a look at one waybill
//	lookup     WeChat's reverse lookup and landing page
//	page       the fleet page
//	tokens, quota, shares, waiting, presence
//	           what several processes of one centre share (shared.go)
//
// In the snapshot, durable: events, answers, waybill data, bindings, numbering.
// In memory: the rest, but for what several processes share in their database. Where
// declarations were lost, `process` in an answer has changed, and the depots declare again
// what they wait for.
//
// It must never answer a sync before the snapshot has it on disk, never push
// anything itself, never give the AppSecret or a callback key to anyone, and never
// log a secret, a phone, a name or what is in a waybill. It opens no listener.
package central
