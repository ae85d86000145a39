// Package policy decides what becomes of an event. Its decisions are values,
// made of the event, the time, what the centre or WeChat answered and what
// section notify says; package push and package sync carry them out.
//
// It owns the order of the gate (Gate), the one switch that makes an answer of
// WeChat an outcome, a retry or a pause (Decide), and the intervals between
// retries. It must never make a call, keep state or look at a clock: the time
// is an argument, only the jitter of delays comes from a die. The numbers are
// listed in the README of package uplink.
package policy
