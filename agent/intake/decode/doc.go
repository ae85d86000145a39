// Package decode turns the bytes that devices send into trees of named values:
// JSON, lines of text, CSV rows and Sparkplug B metrics. It also reads the
// forms in which devices write times and numbers.
//
// It knows nothing of waybills, stations or configuration files, does no I/O
// and keeps no state; what Sparkplug's births said is kept by the caller behind
// the Births interface. Every function takes hostile input: sizes, depths and
// counts are bounded, nothing panics (each decoder has a fuzz target).
package decode
