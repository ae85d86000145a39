// Package lately remembers what a depot did in the last hour and day, and its last scans,
// for the depot page's charts and lists.
//
// It is memory alone, of fixed size, and begins with the process. What it is told comes
// from the store's committer and the relays: telling takes a moment and waits for nobody.
// It shows no phone, name or address.
package lately
