package callback

import (
	"bytes"
	"context"
	"crypto/cipher"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"scanrelay/configs/secret"
)

func random16(t testing.TB, s string) [16]byte {
	t.Helper()
	if len(s) != 16 {
		t.Fatalf("random has %d bytes, want 16", len(s))
	}
	return [16]byte([]byte(s))
}

// encryptRaw encrypts a whole frame as it is, right or wrong.
func encryptRaw(c *Crypt, frame []byte) string {
	data := bytes.Clone(frame)
	cipher.NewCBCEncrypter(c.block, c.iv).CryptBlocks(data, data)
	return base64.StdEncoding.EncodeToString(data)
}

// frameOf builds a frame without padding; size is what the frame says.
func frameOf(size uint32, msg, appid string) []byte {
	f := binary.BigEndian.AppendUint32([]byte("0123456789abcdef"), size)
	return append(f, msg+appid...)
}

func TestOfficialVectors(t *testing.T) {
	c := officialCrypt(t)
	in, out := Official.SecureRequest, Official.SecureReply
	for _, v := range []struct{ what, got, want string }{
		{"url check signature", c.Sign(Official.URLCheck.Timestamp, Official.URLCheck.Nonce), Official.URLCheck.Signature},
		{"plain signature", c.Sign(Official.Plain.Timestamp, Official.Plain.Nonce), Official.Plain.Signature},
		{"secure signature", c.Sign(in.Timestamp, in.Nonce), in.Signature},
		{"secure msg_signature", c.Sign(in.Timestamp, in.Nonce, in.Encrypt), in.MsgSignature},
		{"request", c.Encrypt(random16(t, in.Random), []byte(in.Message)), in.Encrypt},
		{"reply", c.Encrypt(random16(t, out.Random), []byte(out.Message)), out.Encrypt},
		{"reply msg_signature", c.Sign(strconv.FormatInt(out.Timestamp, 10), out.Nonce, out.Encrypt), out.MsgSignature},
	} {
		if v.got != v.want {
			t.Errorf("%s:\n got %s\nwant %s", v.what, v.got, v.want)
		}
	}
	for encrypted, want := range map[string]string{in.Encrypt: in.Message, out.Encrypt: out.Message} {
		if msg, err := c.Decrypt(encrypted); err != nil || string(msg) != want {
			t.Errorf("Decrypt = %q, %v; want %q", msg, err, want)
		}
	}
}

// The signature sorts by bytes: capitals before lower case.
func TestSignSortsByBytes(t *testing.T) {
	// sha1("9Zab")
	if got, want := Sign("b", "a", "Z", "9"), Sign("9Zab"); got != want {
		t.Errorf("Sign = %s, want %s", got, want)
	}
	parts := []string{"b", "a"}
	Sign(parts...)
	if parts[0] != "b" {
		t.Error("Sign sorted its argument in place")
	}
}

// Every length from 0 to 64 meets every padding from 1 to 32 twice; half of
// them fail where padding is checked against AES's block of 16.
func TestEveryPadding(t *testing.T) {
	c := officialCrypt(t)
	seen := map[int]bool{}
	for n := range 65 {
		msg := strings.Repeat("x", n)
		frame := frameOf(uint32(n), msg, c.appid)
		seen[len(pad(bytes.Clone(frame)))-len(frame)] = true
		got, err := c.Decrypt(c.Encrypt(random16(t, "0123456789abcdef"), []byte(msg)))
		if err != nil || string(got) != msg {
			t.Errorf("message of %d bytes: %v", n, err)
		}
	}
	for n := 1; n <= 32; n++ {
		if !seen[n] {
			t.Errorf("padding of %d did not come up", n)
		}
	}
}

func TestWrongPadding(t *testing.T) {
	c := officialCrypt(t)
	whole := pad(frameOf(2, "hi", c.appid)) // 40 bytes and 24 of padding
	tail := func(change func(b []byte)) []byte {
		b := bytes.Clone(whole)
		change(b)
		return b
	}
	for name, frame := range map[string][]byte{
		"last byte 0":            tail(func(b []byte) { b[len(b)-1] = 0 }),
		"last byte 33":           tail(func(b []byte) { b[len(b)-1] = 33 }),
		"last byte 255":          tail(func(b []byte) { b[len(b)-1] = 255 }),
		"longer than it is":      tail(func(b []byte) { b[len(b)-1] = 32 }),
		"33 bytes of 33":         append(frameOf(25, strings.Repeat("x", 25), c.appid), bytes.Repeat([]byte{33}, 33)...),
		"bytes differ":           tail(func(b []byte) { b[len(b)-2]++ }),
		"first byte differs":     tail(func(b []byte) { b[40]++ }),
		"nothing but zero bytes": make([]byte, 64),
	} {
		if _, err := c.Decrypt(encryptRaw(c, frame)); !errors.Is(err, errPadding) {
			t.Errorf("%s: %v, want %v", name, err, errPadding)
		}
	}
}

// Lengths are WeChat's word only. The large ones are negative or wrap around
// where an int has 32 bits.
func TestWrongFrames(t *testing.T) {
	c := officialCrypt(t)
	full := frameOf(5, "hello", c.appid)
	cases := []struct {
		name  string
		frame []byte
		want  error
	}{
		{"empty", nil, errFrame},
		{"random cut off", full[:10], errFrame},
		{"length cut off", full[:19], errFrame},
		{"message cut off", full[:23], errFrame},
		{"no appid", full[:25], errAppID},
		{"appid cut off", full[:len(full)-1], errAppID},
		{"appid too long", append(bytes.Clone(full), 'x'), errAppID},
		{"another appid", frameOf(5, "hello", "wx0000000000000000"), errAppID},
		{"another appid that begins alike", frameOf(5, "hello", c.appid+c.appid), errAppID},
		{"length one short", frameOf(4, "hello", c.appid), errAppID},
		{"length one over", frameOf(6, "hello", c.appid), errAppID},
		{"length over all", frameOf(uint32(len("hello")+len(c.appid)+1), "hello", c.appid), errFrame},
		{"length 1<<31-1", frameOf(1<<31-1, "hello", c.appid), errFrame},
		{"length 1<<31", frameOf(1<<31, "hello", c.appid), errFrame},
		{"length 1<<32-20", frameOf(1<<32-20, "hello", c.appid), errFrame},
		{"length 1<<32-1", frameOf(1<<32-1, "hello", c.appid), errFrame},
	}
	for _, k := range cases {
		if _, err := c.Decrypt(encryptRaw(c, pad(bytes.Clone(k.frame)))); !errors.Is(err, k.want) {
			t.Errorf("%s: %v, want %v", k.name, err, k.want)
		}
	}
}

func TestWrongCiphertext(t *testing.T) {
	c := officialCrypt(t)
	data, err := base64.StdEncoding.DecodeString(Official.SecureRequest.Encrypt)
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]string{
		"empty":      "",
		"no base64":  "§§§§",
		"URL base64": strings.ReplaceAll(Official.SecureRequest.Encrypt, "+", "-"),
		"15 bytes":   base64.StdEncoding.EncodeToString(data[:15]),
		"16 bytes":   base64.StdEncoding.EncodeToString(data[:16]),
		"48 bytes":   base64.StdEncoding.EncodeToString(data[:48]),
		"one less":   base64.StdEncoding.EncodeToString(data[:len(data)-1]),
	} {
		if _, err := c.Decrypt(s); !errors.Is(err, errCiphertext) {
			t.Errorf("%s: %v, want %v", name, err, errCiphertext)
		}
	}
}

// A key's last character carries two bits too many; WeChat leaves anything in
// them, and a strict decoder refuses the key.
func TestStrayKeyBits(t *testing.T) {
	base := strings.Repeat("b", 42)
	want, err := decodeKey(base + "A")
	if err != nil {
		t.Fatal(err)
	}
	for _, last := range "BCD" {
		key, err := decodeKey(base + string(last))
		if err != nil || !bytes.Equal(key, want) {
			t.Errorf("key with stray bits %c: %v", last, err)
		}
	}
}

func TestNewCryptRefuses(t *testing.T) {
	good := secret.Text(Official.EncodingAESKey)
	for _, k := range []struct {
		name       string
		token, key secret.Text
		appid      string
		want       string
	}{
		{"no token", "", good, "wx1", "token is missing"},
		{"no appid", "t", good, "", "appid is missing"},
		{"short key", "t", good[1:], "wx1", "has 42 characters, want the 43"},
		{"long key", "t", good + "A", "wx1", "has 44 characters"},
		{"odd key", "t", "-" + good[1:], "wx1", "characters other than"},
		{"key with a line end", "t", "\n" + good[1:], "wx1", "characters other than"},
	} {
		_, err := NewCrypt(k.token, k.key, k.appid)
		if err == nil || !strings.Contains(err.Error(), k.want) {
			t.Errorf("%s: %v, want %q", k.name, err, k.want)
		}
		if err != nil && k.key != "" && strings.Contains(err.Error(), k.key.Reveal()) {
			t.Errorf("%s: the error shows the key", k.name)
		}
	}
}

// fmt does not ask unexported fields for their Format method.
func TestNothingPrintsASecret(t *testing.T) {
	c, err := NewCrypt("s3cr3t-token", secret.Text(Official.EncodingAESKey), "wx1")
	if err != nil {
		t.Fatal(err)
	}
	h, err := NewHandler(Config{Token: "s3cr3t-token", Mode: Plain}, func(context.Context, Query) Answer { return Answer{} })
	if err != nil {
		t.Fatal(err)
	}
	q := Query{WaybillID: "s3cr3t-waybill", ReceiverPhone: "s3cr3t-phone"}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		printed := fmt.Sprintf(verb+verb+verb+verb+verb, c, *c, h, q, &q)
		hexed := hex.EncodeToString([]byte("s3cr3t"))
		if strings.Contains(printed, "s3cr3t") || strings.Contains(printed, hexed) {
			t.Errorf("%s printed: %s", verb, printed)
		}
	}
}

func BenchmarkEncrypt(b *testing.B) {
	c := officialCrypt(b)
	msg := []byte(Official.SecureRequest.Message)
	b.ReportAllocs()
	for b.Loop() {
		c.Encrypt([16]byte{}, msg)
	}
}

func BenchmarkDecrypt(b *testing.B) {
	c := officialCrypt(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Decrypt(Official.SecureRequest.Encrypt); err != nil {
			b.Fatal(err)
		}
	}
}
