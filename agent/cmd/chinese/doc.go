// Package chinese says in Chinese what the program says in English of a configuration,
// of a message that is not understood, and of an event that is not pushed. What is kept,
// logged and given to scripts stays in English: people who read Chinese get it from there.
//
// It owns reasons.txt, pairs of lines: an English format as it stands in the code, and the
// Chinese one; and help.txt and help_full.txt, pairs of what --help says. It promises that
// every format of the packages which its test names has its pair. What it does not know it
// leaves as it is; it must never hide anything.
package chinese
