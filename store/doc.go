// Package store is the outbox: it keeps every scan event on disk from before
// its acknowledgement until it is finished, and for store.retain after.
//
// It owns the files in its folder and the states of events. It must never
// speak to a network, decide what an answer means (package uplink does), print
// or log waybill data, or let intake wait for anything but the disk.
//
// Events come by [Outbox.Append] or Submit, which return once they are on disk.
// The sync relay takes them from Unsynced and says with Synced what the centre
// has. The push relay leases them, and gives each lease back by Settle, which
// ends events, by Release or by Park. Dead letters wait for people:
// [Commands]. Who has no agent running reads the folder with [OpenReadOnly],
// [OpenDamaged] and [Check].
//
// What may run concurrently: everything. What is durable: whatever took a
// context or a function to call, when that returns or is called. Sentinels say
// what to do: [ErrFull] wait on Room; [ErrFailed] end the process, a sync failed;
// [ErrClosed] nothing was taken; [ErrNotLeased] somebody else has the event.
//
// The rooms below, the files, what is promised and which test holds it stand in
// README.md.
package store
