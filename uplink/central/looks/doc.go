// Package looks asks depots what became of the scans of a waybill that somebody looks at:
// the centre knows their path, and a depot alone knows what it has pushed. A depot is asked
// with the answer to its next sync, whichever process it calls, and tells it in one after.
// Of each waybill what was told last is kept, of so many waybills as there are places.
//
// It also remembers, in the memory of one process, what WeChat's reverse lookups were
// answered ([Lookups]). It keeps nothing personal: numbers, times, outcomes.
package looks
