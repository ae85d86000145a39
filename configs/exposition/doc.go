// Package exposition writes metrics in Prometheus' text format as its readers
// want them: each family in one piece, after its HELP and its TYPE, and beside
// them what is known of the process.
//
// It owns the form. What there is to tell is told by who counts it, and what a
// metric means stands in the table of its role, which is the only place where a
// help text is written. A metric without a row is written all the same, untyped.
package exposition
