// Package mapping turns what devices send into scan events, by configuration.
// It owns what a source and a station are: the structs that the configuration
// holds, and Compile, the one place that says whether they are right. What
// Compile makes, Rules, is what runs, so check, start and reload cannot differ.
//
// # What always holds
//
//   - Nothing vanishes without a count: every message ends as events, rejects or
//     reads that are none (scan.Batch); a property test and a fuzz target hold it.
//   - The same message, clock and rules come to the same batch; beside what
//     Sparkplug's births said nothing is kept.
//   - Every event is valid (scan.Event.Validate), every reject says in one line
//     what is wrong, where, and what to do, with long digit runs masked.
//   - Input is hostile: sizes and counts are bounded, nothing panics.
//
// # Must never
//
// It must never do I/O, log, know how a message came or where a batch goes, nor
// import package configs, which asks it. README.md of agent/intake is the
// reference of what can be configured.
package mapping
