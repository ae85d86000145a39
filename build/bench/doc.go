// Bench measures the built binary as a whole: how fast an agent takes scans and
// brings them to WeChat, what it writes to disk for each and what memory it
// holds, and prints that beside the numbers to reach (build/README.md, Measuring)
// with the machine's name. Scanners and WeChat run on the same machine, in this
// process, and take their share of it: ratios count, absolute figures only
// within one run.
//
// The reverse lookup is asked over HTTP from a centre whose folder was filled
// beforehand; the encryption alone is measured beside another SDK's by the module
// in crypt.
//
// It judges nothing: a figure below its target is printed as such and is no
// failure. What must hold is for the tests.
package main
