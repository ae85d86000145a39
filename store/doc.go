// Package store is the outbox: it keeps every scan event on disk from before
// its acknowledgement until it is finished, and for store.retain after.
//
// It owns the files in its folder and the states of events. It must never
// speak to a network, decide what an answer means (package uplink does), print
// or log waybill data, or let intake wait for anything but the disk.
package store
