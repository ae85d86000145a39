// Package user is the one validator of who may log in at the embedded broker and
// publish where: check, start and reload all compile the list here, and what it
// compiles is what the broker asks. It must never say a password.
package user
