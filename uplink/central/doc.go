// Package central is the centre: it takes the depots' events into the snapshot,
// answers WeChat's reverse lookups from it, and hands out what a push needs:
// waybill data, bindings, the access token, a share of the call rate.
//
// It owns the HTTP API of interfaces.md (Central's HTTP API), the access token,
// the shares, the landing page's JSONP and the fleet page. It must never answer
// a sync before the snapshot has it on disk, never push anything itself, never
// give the AppSecret or a callback key to anyone, and never log a secret, a
// phone, a name or what is in a waybill. It opens no listener.
//
// # Calls
//
//	sync.go      POST /v1/sync                a depot's sync; syncapi is its protocol,
//	                                          syncwire.go its bounds, sound.go what is refused
//	import.go    POST /v1/waybills            waybill data from the carrier, streamed
//	waybill.go   GET /v1/waybills/{id}        the snapshot's view of one
//	lookup.go    GET, POST <callback path>    WeChat's reverse lookup, by wechat/callback
//	jsonp.go     GET /jsonp/waybill           WeChat's landing page
//	page.go      GET /                        the fleet page
//	health.go    GET /healthz, /readyz, /metrics
//
// Every answer that is no 200 has a syncapi.Failure as its body, except the
// callback's, JSONP's and the page's.
//
// # Statuses of POST /v1/sync
//
//	200  everything in the request is on disk, each event has its answer
//	400  the request is malformed; the same again fails again
//	401  no credential, or one that nobody has
//	403  the credential is sound but may not be used here: its certificate names
//	     no depot of ours, or another one than its token
//	413  a bound of syncapi is passed; send less
//	501  a version of the protocol that this centre does not speak
//	503  overloaded or stopping; send again after Retry-After
//
// A depot is named by its credential alone; nothing in a request can name another.
//
// # What lives where
//
// In the snapshot, durable: events, answers, waybill data, bindings, numbering.
// In memory: the token (broker.go), WeChat's word on the quotas (quota.go), which
// bounds wechat.rate, the depots' shares of it (shares.go) and when each
// was last heard of (fleet.go), what each waits for (waiting.go). After a restart
// `process` in the answer has changed, and the depots declare again.
package central
