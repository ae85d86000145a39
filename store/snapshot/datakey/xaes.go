package datakey

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"

	"scanrelay/store/masterkey"
)

const (
	nonceSize = 24
	tagSize   = 16
)

// cipherOf is XAES-256-GCM under a key: from the first half of a nonce it derives the
// AES-256-GCM that takes the second. It is a function since fmt would print the key
// that is in a struct.
func cipherOf(k masterkey.Key) func(half []byte) cipher.AEAD {
	block := newBlock(k.Reveal()[:])
	var k1 [aes.BlockSize]byte
	block.Encrypt(k1[:], k1[:])
	carry := byte(0)
	for i := len(k1) - 1; i >= 0; i-- {
		k1[i], carry = k1[i]<<1|carry, k1[i]>>7
	}
	k1[len(k1)-1] ^= carry * 0x87
	return func(half []byte) cipher.AEAD {
		var derived [2 * aes.BlockSize]byte
		for i := range 2 {
			m := derived[i*aes.BlockSize:][:aes.BlockSize]
			copy(m, []byte{0, byte(i + 1), 'X', 0})
			copy(m[4:], half)
			subtle.XORBytes(m, m, k1[:])
			block.Encrypt(m, m)
		}
		a, err := cipher.NewGCM(newBlock(derived[:]))
		if err != nil {
			panic(err) // of AES there is always one
		}
		return a
	}
}

func newBlock(key []byte) cipher.Block {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // 32 bytes are always a key
	}
	return block
}

// seal appends a nonce and the encrypted plain to dst.
func seal(under func(half []byte) cipher.AEAD, dst, nonce, plain, bound []byte) []byte {
	return under(nonce[:nonceSize/2]).Seal(append(dst, nonce...), nonce[nonceSize/2:], plain, bound)
}

// open is the way back.
func open(under func(half []byte) cipher.AEAD, sealed, bound []byte) ([]byte, error) {
	if len(sealed) < nonceSize+tagSize {
		return nil, ErrKey
	}
	return under(sealed[:nonceSize/2]).Open(nil, sealed[nonceSize/2:nonceSize], sealed[nonceSize:], bound)
}
