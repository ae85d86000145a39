// Package limit has token buckets for many keys: addresses, clients, waybills; and a
// log of what many can cause. It promises that its memory is bounded, however many
// keys there are. Of buckets, who was away for longest is forgotten first, and starts
// again with a full one; so a bound must be well above the keys that are seen while a
// bucket fills. And it has places, of which so many are taken at once ([Places]).
package limit
