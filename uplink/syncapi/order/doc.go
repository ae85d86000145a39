// Package order is what operators want done at a depot, as the centre tells it with each
// answer to a sync, and what became of it, as the depot says. It holds words, shapes and
// bounds only.
package order
