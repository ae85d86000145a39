// Package boltfile knows what the two files of the store in bbolt hold beside values:
// their buckets, what they say of themselves, the wrapped keys, how one is made and
// opened, and how all of it is looked at. It brings what older formats have in clear to what is encrypted now.
//
// It promises that
//   - the keys that either file has are found, and a master key that is not theirs is
//     refused, before anything is changed: TestMasterKey, TestKeysSurvive (package bolt);
//   - no page is overwritten that anybody may still read: TestEncryptBesideCopy.
//
// ../README.md has the formats. It must never keep a file open, nor know a store.
package boltfile
