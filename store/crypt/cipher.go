package crypt

import (
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"

	"scanrelay/store/codec"
	"scanrelay/store/durable"
)

// RecordKind is what an encrypted record is; part of its nonce, so that none
// passes for another.
type RecordKind byte

// Kinds of records.
const (
	EventRecord RecordKind = 1 + iota
	CarriedRecord
	RejectRecord
	reasonText // of a note, under the note's number
)

const (
	saltSize = 4
	tagSize  = 16
	// Overhead is what an encrypted record has beside its fields, in bytes.
	Overhead = 1 + saltSize + tagSize + codec.CRCSize
)

// Cipher encrypts the records of one file. Of a nil one, whose key is gone,
// nothing can be decrypted.
type Cipher struct {
	aead func() cipher.AEAD
	mac  func(purpose string) hash.Hash
}

func newCipher(k key) *Cipher {
	return &Cipher{aead: k.AEAD(), mac: func(purpose string) hash.Hash {
		derived := hmac.New(sha256.New, k.Reveal()[:])
		derived.Write([]byte(purpose)) // never fails
		return hmac.New(sha256.New, derived.Sum(nil))
	}}
}

// MAC returns an HMAC-SHA256 under a key that is derived for the purpose.
func (c *Cipher) MAC(purpose string) hash.Hash { return c.mac(purpose) }

// Salt is part of the nonces of one commit.
type Salt [saltSize]byte

// NewSalt makes the nonces of a commit its own: a number may be given twice,
// when a commit failed or was lost in a power cut, and no nonce must be.
func NewSalt() (salt Salt) {
	_, _ = rand.Read(salt[:]) // never returns an error
	return salt
}

// Encrypt encrypts a frame that was begun with its version byte and closes it:
//
//	version | salt (4 bytes) | AES-GCM of the body, and its tag (16) | CRC32C
//
// The nonce is the salt, the record's kind and its number, which is its key.
func (c *Cipher) Encrypt(kind RecordKind, key []byte, salt Salt, begun []byte) []byte {
	out := make([]byte, 0, len(begun)+Overhead-1)
	out = append(append(out, begun[0]), salt[:]...)
	out = c.aead().Seal(out, nonce(kind, key, salt[:]), begun[1:], begun[:1])
	return codec.Frame(key, out)
}

// Decrypt checks and decrypts what Encrypt made, into scratch if it is large
// enough. Records of format 1 were in clear. What is wrong is ErrDamaged, or
// ErrNewer.
func (c *Cipher) Decrypt(kind RecordKind, key, value, scratch []byte) ([]byte, error) {
	encrypted, err := codec.Unframe(key, value)
	if err != nil || value[0] == 1 {
		return encrypted, err
	}
	if c == nil || len(encrypted) < saltSize+tagSize {
		return nil, fmt.Errorf("%w: it cannot be decrypted", durable.ErrDamaged)
	}
	body, err := c.aead().Open(scratch[:0], nonce(kind, key, encrypted[:saltSize]), encrypted[saltSize:], value[:1])
	if err != nil {
		return nil, fmt.Errorf("%w: it cannot be decrypted", durable.ErrDamaged)
	}
	return body, nil
}

func nonce(kind RecordKind, key, salt []byte) []byte {
	n := append(make([]byte, 0, 12), salt...)
	n = binary.BigEndian.AppendUint64(n, codec.Seq(key))
	n[saltSize] ^= byte(kind) // numbers stay below 2⁵⁶
	return n
}
