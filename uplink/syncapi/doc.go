// Package syncapi is what an agent and its centre say to each other: the wire
// types of POST /v1/sync, their conversion to and from package scan, and the
// agent's client. It owns the wire format and its version; it decides nothing.
//
// # One call
//
// The agent posts gzipped JSON, Authorization: Bearer <depot token>. Everything
// in it is idempotent: sending a request twice is as good as sending it once.
//
//	agent                                       centre
//	{v, epoch, next_seq, from, events, ask,  ─►  authenticates the depot
//	 waiting, bindings, bad_token, backlog}      compares from with what it has
//	                                             merges the events, fsync
//	{store_id, process, have, answers,       ◄─  answers each event
//	 waybills, ready, token, rate, wechat}
//
// # Sequence
//
// Each event has (epoch, seq), seq rising within a depot, with holes only where
// damage took records. The request covers the numbers from `from` on: whatever
// the depot still has of them up to the last event sent is in `events`. The
// centre keeps `have`, the highest number taken of that epoch. Of an epoch that
// it has not seen it is the highest of the depot's other epochs, below next_seq:
// numbers go on over epochs, so a new one brings neither a rewind nor a gap.
//
//   - from > have+1: the centre lacks something the agent believes delivered
//     (it came back from a backup). It merges nothing and answers have with
//     rewind set; the agent lets its watermark fall and sends again.
//   - numbers at or below have are answered from the stored answers; another
//     identity under a known number is `conflict`: nothing of the batch is
//     merged, and the agent takes a new epoch and sends what is unsynced again
//     under it.
//   - numbers missing between have+1 and an event are a gap: an alarm at the
//     centre that names them.
//   - have ≥ next_seq: the agent's store is older than what it once sent (a
//     restored card). It takes a new epoch.
//
// # Answers
//
// Each event of the request gets one Answer; `ask` gets answers for events that
// were taken before (a push asks again when the answer is older than 60 s).
// An asked event is late when its stored answer was late, or when the centre
// has by now a newer unmuted node of another depot for that waybill. A depot's
// own later nodes never make its earlier ones late on asking: they are pushed
// in order.
//
// # Waybill data
//
// For every waybill in events and ask that has data, `waybills` carries it
// once, with what is known of the binding. Waybills without data that the agent
// waits for are declared in `waiting`; the declaration lasts while store_id and
// process stay the same. `ready` names those declared waybills whose data has
// come meanwhile.
package syncapi
