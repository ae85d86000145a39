// Package datakey keeps the keys under which a centre's store encrypts what is
// personal: a data key for each month, with a number, and the secret by which phones
// are searched. The store keeps them wrapped under the master key, which itself is
// never stored beside them but in the file that bbolt makes at its first start.
//
// The cipher is XAES-256-GCM (c2sp.org/XAES-256-GCM): AES-256-GCM, which processors
// are fast at, under a key that is derived for each nonce of 24 random bytes. A data
// key encrypts 10⁹ values a day: of the 12 random bytes that AES-GCM itself takes two
// would be the same by then.
//
// It promises that
//   - a [Ring] opens with the master key it was wrapped under, or says what to do and
//     changes nothing: TestWrongKey;
//   - what is encrypted opens only with what it was bound to, under its own key: the
//     rest is [ErrKey], never damage: TestBound;
//   - keys are not printed, whatever the verb: TestKeysDontPrint.
//
// It must never put a key into an error or a log, nor give one out unwrapped.
package datakey
