// Package handle keeps the files of segments open: the newest one's in bbolt, and
// of the sealed ones, which are read without it, a bounded count.
//
// It promises that who reads a file reads it to the end, whatever is sealed or
// unlinked meanwhile, and that damage comes back as an error, never as a panic. It
// must never know what is in a file.
package handle
