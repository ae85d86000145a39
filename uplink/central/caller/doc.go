// Package caller says who makes a request: which depot, by token or client
// certificate or session, which operator with which role, and from which address.
//
// A depot is named by its credential alone; one credential never passes as
// another's. Credentials are kept as keyed hashes only, so that finding one takes
// the same time whatever was sent, and a dump of memory shows no token. What
// changes anything takes a bearer token or a certificate; a browser gets a session
// for an operator's token, with which it may only look. It must never log or answer with a credential.
package caller
