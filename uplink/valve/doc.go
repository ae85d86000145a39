// Package valve is what stands between the push relay and WeChat: it knows when
// calls may be made, how fast, with which access token, and why not.
//
// A call begins with Enter, which waits for a token and for its place in the
// rate of its API, and ends with Leave, by which the valve learns what the answer
// means, with Refused, or with Release. Three things hold calls back: a breaker for
// the whole account (blocked, unreachable), a breaker and a rate for each API
// (throttled), and the lack of a token. A breaker that was open lets one probe at
// a time through before it closes.
//
// A call that may not be made now gets no permit, at once, rather than a long
// wait. Calls that were under way together count once: answers to calls that
// began before the last opening decide nothing about it.
//
// The sync relay brings the token and the rate (Offer, SetRate) and reports the
// token that was refused (BadToken) and the one that was taken (Accepted). Nothing here is durable, calls WeChat, or
// knows of events.
package valve
