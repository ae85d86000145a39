// Package release has the publisher's commands, "scanrelay release …": a repository of
// releases made, added to, signed where the keys are, verified, and put on a USB stick.
// Package update/release does it; here are flags, passphrases and what people read.
//
// It promises that no passphrase is taken from the command line, where others of the
// machine would see it, and none printed: TestRelease. It is in the full build only.
package release
