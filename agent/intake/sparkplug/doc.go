// Package sparkplug reads Sparkplug B: payloads become trees as package decode
// has them, their aliases resolved with what birth messages said, and Births
// remembers those births and which edge nodes must be asked for a new one.
//
// It knows nothing of scans and does no I/O: who keeps births over a restart
// writes what Save hands out, and who talks to the broker asks for rebirths.
// Every function takes hostile input: metrics, births, and what all metrics
// of a payload hold are bounded.
package sparkplug
