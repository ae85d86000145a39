// Package limit has token buckets for many keys: addresses, clients, waybills.
// It promises that its memory is bounded, however many keys there are. Who was
// away for longest is forgotten first, and starts again with a full bucket; so a
// bound must be well above the keys that are seen while a bucket fills.
package limit
