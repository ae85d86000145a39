// Package orders keeps what operators want done at depots until the depots have done it:
// dead letters that are to be pushed again, or discarded. Each depot is told of its orders
// with every answer to a sync, and says in a later one what became of them.
//
// It promises that an order which was answered is delivered, whichever process the depot
// calls and whoever dies in between, and that the same order given again while it is open
// is one. It keeps nothing of what an event says, and never decides what is to be done.
package orders
