// Package uplink brings events out of the depot. It puts the two relays
// together: package sync carries events from the outbox to the centre, package
// push from the outbox to WeChat.
//
// A node is pushed only after the centre has durably taken it, because WeChat
// looks it up there within the call; package push asks package sync where the
// centre's word is too old. What both know is in package shared, when WeChat may
// be called in package valve, what an answer means in package policy. The README
// draws the loop and holds the protocol, the order of the gate and all numbers.
//
// Nothing here is durable: answers, bindings, pauses and the token live in memory
// and are learned again after a restart. The watermark and the outcomes are the
// outbox's.
package uplink
