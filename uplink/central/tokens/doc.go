// Package tokens owns the fleet's access token: it alone asks WeChat for one,
// one request at a time, and of several processes of a centre one at a time does
// (shared.go). A generation is another text of the token, named by its hash.
//
// A token is refreshed at a random moment in the last 60 to 240 s of its life. A
// good one serves to its end, whatever becomes of the request for the next. Of
// one that a depot says is refused the centre asks WeChat itself, and fetches it
// again where that tells nothing: it is withdrawn only if WeChat refuses it to the
// centre and no depot succeeds with it; refused twice running the fleet is
// blocked, and WeChat is asked now and then. A wrong secret is tried ever more
// rarely: asking on and on can freeze it.
//
// It must never force a refresh, which would kill the token under everyone's
// hands, take a token from the fleet on one depot's word, or log one.
package tokens
