// Package crypt encrypts what the outbox writes about people, and keeps the keys.
//
// Events and rejects are encrypted with AES-256-GCM under a random key of their
// segment's own, and so are the reasons of notes that hold words of people or of
// WeChat. A [Ring] keeps these keys, under the master key, in outbox.keys; the
// master key is the systemd credential scanrelay-store-key, or else stands in
// outbox.key, which is made at the first start.
//
// It promises that
//   - a key that the ring no longer keeps is overwritten in both its copies:
//     TestDestroyedKeyIsInNeitherSlot;
//   - one bad page in outbox.key or outbox.keys loses nothing: TestKeysSurviveDamage;
//   - a wrong, missing or outdated key is ErrKey, says what to do, and changes
//     nothing: TestWrongOrMissingKey, TestKeysOlderThanSegments;
//   - no nonce is used twice, and no record passes for one of another kind or
//     number: TestNoncesDiffer;
//   - keys are not printed, whatever the verb: TestKeysDontPrint.
//
// It must never write a key in clear but the master key to its own file, nor put
// one into an error or a log. The README of package store tells of the threats.
package crypt
