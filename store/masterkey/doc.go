// Package masterkey reads the keys that stores are given, under which they keep the
// keys of what they encrypt: a systemd credential, or a file that is made at the
// first start.
//
// A key is 64 hex digits, one a line; where there are several the first is the one
// to write with, and all may be read with. Keys are never printed, whatever the verb.
//
// It must never put a key into an error or a log.
package masterkey
