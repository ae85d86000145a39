// Package fleet judges how depots do: what is wrong with each and what is to be done
// about it, which state that comes to, and which depots somebody looks for among all
// of a carrier's.
//
// It owns the kinds of alarms and their words, and how a list of depots is filtered,
// sorted and cut into pages. It is pure: it knows neither who calls nor where what it
// is given stands, and must never wait for anything.
package fleet
