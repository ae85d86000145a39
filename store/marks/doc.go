// Package marks is the file that tells the next start how a process left the
// outbox's folder: outbox.state.
//
// It owns that file, and what earlier releases wrote in its place. It promises that
// the file is written whole or not at all: where there is no room for it there is
// none, and a start looks at more than it had to; of a damaged one nothing is
// believed. It must never know what is in the segments that it names.
package marks
