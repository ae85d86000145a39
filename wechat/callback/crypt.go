package callback

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"scanrelay/configs/secret"
)

// The frame (wechat/README.md, Frame): random(16) + length(4) + message + appid,
// padded to blocks of 32 although AES has blocks of 16.
const (
	randomSize = 16
	headerSize = randomSize + 4
	padBlock   = 32
	keyChars   = 43
)

// Why something could not be decrypted. They are told apart in logs and tests
// only: WeChat gets 403 for all of them.
var (
	errCiphertext = errors.New("is no base64 of whole blocks")
	errPadding    = errors.New("has wrong padding")
	errFrame      = errors.New("has a wrong length inside")
	errAppID      = errors.New("is for another appid")
)

// Crypt encrypts and decrypts messages between WeChat and one appid. It is safe
// for concurrent use.
type Crypt struct {
	token secret.Text
	appid string
	block cipher.Block
	iv    []byte // the first half of the key
}

// NewCrypt makes a Crypt of what WeChat's console shows: the Token, the
// EncodingAESKey of 43 characters and the appid.
func NewCrypt(token, aesKey secret.Text, appid string) (*Crypt, error) {
	if token == "" {
		return nil, errors.New("token is missing")
	}
	if appid == "" {
		return nil, errors.New("appid is missing")
	}
	key, err := decodeKey(aesKey.Reveal())
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	return &Crypt{token: token, appid: appid, block: block, iv: key[:aes.BlockSize]}, nil
}

// Format prints the appid only: fmt does not mask unexported fields by itself.
func (c Crypt) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "crypt for %s", c.appid) }

// decodeKey decodes an EncodingAESKey. 43 characters of base64 are 258 bits,
// two more than the key: WeChat leaves anything in them, so they are ignored.
func decodeKey(s string) ([]byte, error) {
	if len(s) != keyChars {
		return nil, fmt.Errorf("encoding_aes_key has %d characters, want the %d that WeChat's console shows", len(s), keyChars)
	}
	key, err := base64.StdEncoding.DecodeString(s + "=")
	if err != nil || len(key) != 32 {
		// The decoder's own error would quote a piece of the key.
		return nil, errors.New("encoding_aes_key has characters other than A-Z, a-z, 0-9, + and /")
	}
	return key, nil
}

// Sign returns the signature of the Token with parts: timestamp and nonce, and
// for msg_signature the encrypted text.
func (c *Crypt) Sign(parts ...string) string {
	return Sign(append([]string{c.token.Reveal()}, parts...)...)
}

// Encrypt frames, pads and encrypts msg. random must come from a CSPRNG and be
// fresh for every message: the IV is fixed, only random makes texts differ.
func (c *Crypt) Encrypt(random [randomSize]byte, msg []byte) string {
	if uint64(len(msg)) > math.MaxUint32 {
		panic("callback: message of 4 GiB or more") // our own answers are bounded far below
	}
	frame := make([]byte, 0, headerSize+len(msg)+len(c.appid)+padBlock)
	frame = append(frame, random[:]...)
	frame = binary.BigEndian.AppendUint32(frame, uint32(len(msg)))
	frame = append(frame, msg...)
	frame = append(frame, c.appid...)
	frame = pad(frame)
	cipher.NewCBCEncrypter(c.block, c.iv).CryptBlocks(frame, frame)
	return base64.StdEncoding.EncodeToString(frame)
}

// Decrypt undoes Encrypt and checks padding, lengths and appid. The signature
// must have been checked before: that is what keeps a padding oracle away.
func (c *Crypt) Decrypt(b64 string) ([]byte, error) {
	data, err := base64.StdEncoding.DecodeString(b64)
	if err != nil || len(data) == 0 || len(data)%padBlock != 0 {
		return nil, fmt.Errorf("decrypt message: it %w", errCiphertext)
	}
	cipher.NewCBCDecrypter(c.block, c.iv).CryptBlocks(data, data)
	msg, err := openFrame(data, c.appid)
	if err != nil {
		return nil, fmt.Errorf("decrypt message: it %w", err)
	}
	return msg, nil
}

// openFrame takes the message out of a decrypted frame. The length inside is
// WeChat's word only: it is compared as uint64, so that it overflows on no
// machine, before anything is sliced.
func openFrame(data []byte, appid string) ([]byte, error) {
	frame, ok := unpad(data)
	if !ok {
		return nil, errPadding
	}
	if len(frame) < headerSize {
		return nil, errFrame
	}
	size := binary.BigEndian.Uint32(frame[randomSize:headerSize])
	rest := frame[headerSize:]
	if uint64(size) > uint64(len(rest)) {
		return nil, errFrame
	}
	msg, id := rest[:size], rest[size:]
	if subtle.ConstantTimeCompare(id, []byte(appid)) != 1 {
		return nil, errAppID
	}
	return msg, nil
}

// pad appends 1 to 32 bytes, each of that value (PKCS#7).
func pad(b []byte) []byte {
	n := padBlock - len(b)%padBlock
	return append(b, bytes.Repeat([]byte{byte(n)}, n)...)
}

// unpad undoes pad and reports whether the padding was right.
func unpad(b []byte) ([]byte, bool) {
	if len(b) == 0 {
		return nil, false
	}
	n := int(b[len(b)-1])
	if n < 1 || n > padBlock || n > len(b) {
		return nil, false
	}
	body, padding := b[:len(b)-n], b[len(b)-n:]
	return body, bytes.Count(padding, padding[n-1:]) == n
}
