package syncapi

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/configs/secret"
)

// Where the centre serves enrolment and sessions. They stand outside the versions
// of the sync API: what is signed names its own.
const (
	EnrolPath   = "/v1/enrol"
	NoncePath   = "/v1/session/nonce"
	SessionPath = "/v1/session"
)

// MaxIdentityBody bounds the bodies of these calls.
const MaxIdentityBody = 8 << 10

// Enrol asks the centre to register the public half of a depot's key, on the
// strength of a one-time token, or of the credential that the request carries.
type Enrol struct {
	Depot scan.DepotID `json:"depot"`
	Key   []byte       `json:"key"` // Ed25519, public
	Token string       `json:"token,omitempty"`
	Proof []byte       `json:"proof"` // EnrolMessage, signed with Key
}

// Enrolled is the answer: how the centre names the depot. The same request gets
// the same answer.
type Enrolled struct {
	Depot  scan.DepotID      `json:"depot"`
	Name   string            `json:"name"`
	Site   string            `json:"site"`
	Labels map[string]string `json:"labels,omitempty"`
	Key    string            `json:"key"` // its fingerprint
}

// AskNonce asks for something fresh to sign.
type AskNonce struct {
	Depot scan.DepotID `json:"depot"`
}

// Nonce is what the next Prove signs.
type Nonce struct {
	Nonce     string `json:"nonce"`
	ExpiresIn int64  `json:"expires_in"` // seconds
}

// Prove asks for a session: whoever holds the depot's key can sign it.
type Prove struct {
	Depot     scan.DepotID `json:"depot"`
	Nonce     string       `json:"nonce"`
	Boot      string       `json:"boot"`      // names this start of this machine's agent
	Origin    string       `json:"origin"`    // of the address that the gateway calls
	Signature []byte       `json:"signature"` // SessionMessage, signed with the depot's key
}

// Session is a bearer token for all other calls.
type Session struct {
	Session   string `json:"session"`
	ExpiresIn int64  `json:"expires_in"` // seconds
}

// EnrolMessage is what proves that who enrols a key has its private half. With it
// nobody else's token registers the key, and the token none but this key.
func EnrolMessage(depot scan.DepotID, key []byte, token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return message("scanrelay enrol 1", string(depot), hex.EncodeToString(key), hex.EncodeToString(sum[:]))
}

// SessionMessage is what a session is given for.
func SessionMessage(depot scan.DepotID, nonce, boot, origin string) []byte {
	return message("scanrelay session 1", string(depot), nonce, boot, origin)
}

// message joins a label and fields, none of which can run into the next.
func message(fields ...string) []byte {
	var b strings.Builder
	for _, f := range fields {
		fmt.Fprintf(&b, "%d:%s,", len(f), f)
	}
	return []byte(b.String())
}

// Fingerprint names a public key in texts, in groups that nothing takes for a phone
// number.
func Fingerprint(key []byte) string {
	sum := sha256.Sum256(key)
	return fmt.Sprintf("%x-%x-%x-%x", sum[:2], sum[2:4], sum[4:6], sum[6:8])
}

// NewEnrol makes a request for a key.
func NewEnrol(depot scan.DepotID, key ed25519.PrivateKey, token secret.Text) Enrol {
	public := key.Public().(ed25519.PublicKey)
	return Enrol{
		Depot: depot, Key: public, Token: token.Reveal(), Proof: ed25519.Sign(key, EnrolMessage(depot, public, token.Reveal())),
	}
}

// NewProve makes a request for a session.
func NewProve(depot scan.DepotID, key ed25519.PrivateKey, nonce, boot, origin string) Prove {
	return Prove{
		Depot: depot, Nonce: nonce, Boot: boot, Origin: origin,
		Signature: ed25519.Sign(key, SessionMessage(depot, nonce, boot, origin)),
	}
}

// Origin is scheme, host and port of an address as both sides compare them, ""
// for what has none.
func Origin(address string) string {
	u, err := url.Parse(strings.TrimSpace(address))
	if err != nil || u.Host == "" {
		return ""
	}
	scheme, port := strings.ToLower(u.Scheme), u.Port()
	host := strings.ToLower(u.Hostname())
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port != "" && !(scheme == "http" && port == "80") && !(scheme == "https" && port == "443") {
		host += ":" + port
	}
	return scheme + "://" + host
}

// Origin is that of the address which this client calls.
func (c *Client) Origin() string { return Origin(c.base.String()) }

// Enrol registers a key. credential is "" where the token in r stands for it.
func (c *Client) Enrol(ctx context.Context, r Enrol, credential secret.Text) (out Enrolled, err error) {
	err = c.ask(ctx, "enrol at central", EnrolPath, r.Depot, credential, r, &out)
	return out, err
}

// Nonce asks for something fresh to sign.
func (c *Client) Nonce(ctx context.Context, depot scan.DepotID) (out Nonce, err error) {
	err = c.ask(ctx, "ask central for a nonce", NoncePath, depot, "", AskNonce{depot}, &out)
	return out, err
}

// Session makes a session.
func (c *Client) Session(ctx context.Context, r Prove) (out Session, err error) {
	err = c.ask(ctx, "prove the depot's identity to central", SessionPath, r.Depot, "", r, &out)
	return out, err
}

// identityTimeout is how long such a call may take.
const identityTimeout = 15 * time.Second

// ask makes one small call. Its error is an *Error.
func (c *Client) ask(ctx context.Context, what, path string, depot scan.DepotID, credential secret.Text, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, identityTimeout)
	defer cancel()
	body, err := json.Marshal(in)
	if err != nil {
		return &Error{What: what, Err: err}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base.JoinPath(path).String(), strings.NewReader(string(body)))
	if err != nil {
		return &Error{What: what, Err: err}
	}
	req.Header.Set("Content-Type", "application/json")
	authorize(req, credential)
	resp, err := c.http.Do(req)
	if err != nil {
		return &Error{What: what, Err: redact(err, credential)}
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		e := failure(resp, credential, string(depot), c.Origin())
		e.What = what
		return e
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, MaxIdentityBody+1))
	if err == nil && (len(data) > MaxIdentityBody || json.Unmarshal(data, out) != nil) {
		err = fmt.Errorf("the answer is not a centre's: is central.url right?")
	}
	if err != nil {
		return &Error{What: what, Status: resp.StatusCode, Err: redact(err, credential)}
	}
	return nil
}
