// Package repair looks at segments without bbolt, says what is wrong with them,
// and makes a damaged one anew of what can be read.
//
// It owns the looking: CheckOutline is the cheap one, at a start; Inspect and
// Check read all there is, on demand. It promises that a rebuilt segment is whole,
// that an event which cannot be read keeps its place, empty, and is named, and
// that the damaged file is kept. It must never delete what was damaged, nor
// decide when to look.
package repair
