// Package saved keeps devices' messages as files: what "listen --save" writes and
// "check --payload" tries. A folder has each message's bytes as they came, in a file of
// their own, and an index that tells the topic of each.
//
// What devices send is about people: files are readable by their owner alone, as is
// the folder if it is made here. It must never change a byte of a message, nor write
// over one that is there.
package saved
