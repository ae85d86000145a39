// Package page is the fleet page, in English and Chinese: how the centre stands
// with WeChat, its store, its depots and the gaps in their numbering. It shows
// counts and the depots' numbers only: nothing of a waybill. It needs the
// token of an operator with the role viewer, or the session that a browser gets for it, loads nothing from outside,
// and keeps no state of its own.
package page
