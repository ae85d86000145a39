// Package door decides who may look at the depot page, and who may act by it.
//
// Without a password it lets programs and people of this machine look, and nobody act.
// With one, whoever looks has signed in, and whoever acts besides sends what only our own
// page knows. Sessions are random texts in memory, bounded in number and time: a restart
// ends them. Guesses are limited per address and in all, and told in the log.
//
// It must never log, keep or answer with the password or with what was sent for it.
package door
