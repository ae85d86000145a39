// Package fake is a WeChat to order, for tests and the demo: stable_token,
// userquery, pathnotify and quota/get over HTTP, and the reverse lookup
// (waybill_notify_query) that WeChat makes before it accepts a push.
//
// It is as strict as the documents and never softens a rule to make a test
// pass. Where the documents are silent it does the least convenient thing that
// they allow, and says so here:
//
//   - The reverse lookup comes before any answer of pathnotify, for an unbound
//     phone as well: the documents make no exception. Only userquery answers
//     without one. Options.SkipUnbound takes the other reading.
//   - A token that was never issued is 40001 (40014 when it has not even the
//     form of one), one that was replaced by force is 40001, one whose time ran
//     out is 42001, none at all is 41001.
//   - Checks come in this order: method (43002), token, quota, Content-Type and
//     body (47001, 44002), fields (40097), reverse lookup (93200x). What is
//     refused before the fields are read costs no quota.
//   - A field of the wrong JSON type, a missing or empty required one, a number
//     that is no plausible unix second (milliseconds are refused), a phone that
//     is no number (a masked one is refused) and a masked phone inside
//     action_msg are all 40097.
//   - No answer, a status other than 200 and a redirect mean that the carrier
//     could not be reached: asked again, three times in all, then 932001.
//     A reply that arrived but is wrong in form or signature, or has a
//     ResultCode other than 0, is 932002 and is not asked again. A reply whose
//     data disagree with the push (create_time, the node and all its fields) or
//     that does not list the path newest first is 932003.
//
// What a refusal was about stands in the records (Calls, Lookups), never in
// errmsg: WeChat does not tell either.
//
// Replies are read by this package's own code, not by the code that wrote them,
// so that a mistake in package callback cannot hide behind itself.
//
// It must never be reachable in a real installation: it exists for loopback.
package fake
