// Package account is a WeChat account by script, for the tests of the centre's
// rooms: it gives tokens and quotas as a test says and counts how it was asked.
// It must never soften what a test proves by answering out of turn.
package account
