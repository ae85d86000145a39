// Package tokens owns the fleet's access token: it alone asks WeChat for one,
// one request at a time, and once per generation that a depot reports as bad. A
// generation is another text of the token, named by its hash.
//
// A token is refreshed at a random moment in the last 60 to 240 s of its life. A
// good one serves to its end, whatever becomes of the request for the next. A
// text that a depot refused is tried once more, by each depot that was not told
// of it; refused again the fleet is blocked, and WeChat is asked now and then. A
// wrong secret is tried ever more rarely: asking on and on can freeze it.
//
// It must never force a refresh, which would kill the token under everyone's
// hands, give a token that is refused, or log one.
package tokens
