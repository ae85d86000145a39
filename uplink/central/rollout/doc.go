// Package rollout decides which gateway is to run which release, and when.
//
// A release goes out in rings: canaries that are named, then a share of the fleet after
// the other, by a hash of depot and release, so that another release meets others first.
// A ring is followed by the next one once all of it that can be reached have the release,
// and a soak has passed. A gateway is told in the window of its local time, and never two
// of one site at once. What failed of those that were told, above a bound, halts all by
// itself; a person then has those that have it go back, or resumes.
//
// What is decided is pure (decide.go, judge.go): a gateway's sync, or the time, and what is
// known make the next state. Service (service.go) keeps it in documents that all
// processes of a centre share: one for the rollout, one for each site with what its gateways
// were told. Nothing is told before that is durable, and of two processes that would tell
// two gateways of a site one is refused by the document's version.
//
// It must never tell a gateway anything after a halt but to wait or to go back; a process
// hears of what another one was told within five seconds. It is linked by the centre alone.
package rollout
