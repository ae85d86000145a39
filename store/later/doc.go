// Package later finds what was stored after events for their waybills: one that died, and
// is put back or carried, may be late by then.
//
// It must never read more than the heads of the events of those waybills.
package later
