// Package decode turns the bytes that devices send into trees of named values:
// JSON, lines of text and CSV rows. It also reads the forms in which devices
// write times and numbers, and GBK.
//
// It knows nothing of waybills, stations or configuration files, does no I/O
// and keeps no state. Every function takes hostile input: sizes, depths and
// counts are bounded, nothing panics (each decoder has a fuzz target).
package decode
