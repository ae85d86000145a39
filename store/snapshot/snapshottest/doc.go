// Package snapshottest holds a store to the contract of package snapshot: what
// is taken, late, duplicate, refused or in conflict, what a lookup and an ask
// see, what forgetting leaves, against a simple model at random, and while many
// write and read at once. It asks for no folder and waits for no time to pass,
// so that a store in a database runs it as well. It must never know anything of
// a particular store.
package snapshottest
