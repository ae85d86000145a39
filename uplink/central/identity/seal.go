package identity

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"scanrelay/agent/scan"
)

// Nonces and sessions are a purpose, fields and a MAC under the key that all
// processes of the centre know: whichever gets one can check it.
const (
	nonceSeal   = "srn1"
	sessionSeal = "srs1" // caller.SessionPrefix, with its dot
)

// seal joins fields, none of which holds a dot, and their MAC.
func (s *Service) seal(purpose string, fields ...string) string {
	text := purpose + "." + strings.Join(fields, ".")
	return text + "." + base64.RawURLEncoding.EncodeToString(s.mac(text))
}

// unseal returns the fields of what seal made for a purpose.
func (s *Service) unseal(purpose, sealed string, fields int) ([]string, bool) {
	last := strings.LastIndexByte(sealed, '.')
	if last < 0 || len(sealed) > maxSealed {
		return nil, false
	}
	mac, err := base64.RawURLEncoding.DecodeString(sealed[last+1:])
	if err != nil || !hmac.Equal(mac, s.mac(sealed[:last])) {
		return nil, false
	}
	parts := strings.Split(sealed[:last], ".")
	return parts[1:], parts[0] == purpose && len(parts) == fields+1
}

const maxSealed = 256

// Key is one for another purpose, the same for all processes of the centre.
func (s *Service) Key(purpose string) []byte { return s.mac("key\x00" + purpose) }

func (s *Service) mac(text string) []byte {
	mac := hmac.New(sha256.New, s.secret)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

const (
	// nonceLife is how long a nonce can be signed.
	nonceLife = 60 * time.Second
	// maxUsed bounds the nonces of a depot that are remembered, and with them the
	// sessions that it makes in two nonce lives.
	maxUsed = 32
)

func stamp(at time.Time) string { return strconv.FormatInt(at.UnixMilli(), 10) }

func parseStamp(text string) time.Time {
	ms, _ := strconv.ParseInt(text, 10, 64) // it was sealed
	return time.UnixMilli(ms)
}

// Nonce is something fresh to sign for a depot, known or not: nobody learns which
// depots there are.
func (s *Service) Nonce(depot scan.DepotID) (nonce string, life time.Duration) {
	return s.seal(nonceSeal, string(depot), stamp(s.o.Now()), rand.Text()), nonceLife
}

// openNonce returns a nonce's name, if it was made for the depot a short while ago.
// Another process' clock may be a little ahead.
func (s *Service) openNonce(depot scan.DepotID, nonce string) (Used, bool) {
	f, ok := s.unseal(nonceSeal, nonce, 3)
	if !ok || f[0] != string(depot) {
		return Used{}, false
	}
	at := parseStamp(f[1])
	return Used{Name: f[2], At: at}, s.o.Now().Sub(at).Abs() <= nonceLife
}

func (s *Service) sealSession(depot scan.DepotID, name string, until time.Time) string {
	return s.seal(sessionSeal, string(depot), name, stamp(until))
}

// hashToken is all that is kept of a token: it has 130 random bits at least, so that
// nobody finds it by its hash.
func hashToken(token string) string {
	sum := sha256.Sum256([]byte("scanrelay token\x00" + token))
	return hex.EncodeToString(sum[:])
}

// newToken makes one: 26 characters of base32 that a person can read out.
func newToken() (token, hash string) {
	token = "sre-" + strings.ToLower(rand.Text())
	return token, hashToken(token)
}
