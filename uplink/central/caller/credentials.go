package caller

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"strings"

	"scanrelay/agent/scan"
	"scanrelay/configs/secret"
)

// Depot is what a depot of the configuration is known by. Without a token it needs a
// certificate.
type Depot struct {
	ID         scan.DepotID
	Token      secret.Text
	TokenNext  secret.Text // counts, too, while one is changed for the other
	CertSHA256 []string    // fingerprints, in hex, of its client certificates; none: any with its id as CN
}

// Operator is somebody who may look and act.
type Operator struct {
	Name  string
	Token secret.Text
	Role  Role
}

// Role is what somebody may do.
type Role string

// The roles. Each of the first three may what the one before may; an importer may
// nothing but import.
const (
	Viewer   Role = "viewer"
	Actor    Role = "operator"
	Admin    Role = "admin"
	Importer Role = "importer"
)

var ranks = map[Role]int{Viewer: 1, Actor: 2, Admin: 3}

// May reports whether who has a role may do what needs another.
func (r Role) May(need Role) bool {
	return r == need || r == Admin || ranks[r] > 0 && ranks[need] > 0 && ranks[r] >= ranks[need]
}

// AdminName is whom the admin token stands for.
const AdminName = "admin"

// Credentials are those of the configuration.
type Credentials struct {
	Depots    []Depot
	Operators []Operator
	Admin     secret.Text // of an operator admin; "": none
}

// credentials are these as they are looked up: as keyed hashes only.
type credentials struct {
	key       [32]byte
	depots    map[[32]byte]scan.DepotID
	ids       map[scan.DepotID]bool
	pins      map[string]scan.DepotID // of client certificates
	pinned    map[scan.DepotID]bool
	operators map[[32]byte]*operator
	names     map[string]*operator
}

type operator struct {
	name    string
	role    Role
	session [32]byte // with the centre's secret the key of the sessions that its browsers have
}

func newCredentials(c Credentials) *credentials {
	n := &credentials{
		depots: map[[32]byte]scan.DepotID{}, ids: map[scan.DepotID]bool{}, pins: map[string]scan.DepotID{}, pinned: map[scan.DepotID]bool{},
		operators: map[[32]byte]*operator{}, names: map[string]*operator{},
	}
	rand.Read(n.key[:]) // never fails
	for _, d := range c.Depots {
		n.ids[d.ID] = true
		for _, token := range []secret.Text{d.Token, d.TokenNext} {
			if token != "" {
				n.depots[n.hash(token)] = d.ID
			}
		}
		for _, pin := range d.CertSHA256 {
			n.pins[PlainHex(pin)], n.pinned[d.ID] = d.ID, true
		}
	}
	all := c.Operators
	if c.Admin != "" {
		all = append([]Operator{{AdminName, c.Admin, Admin}}, all...)
	}
	for _, o := range all {
		known := &operator{o.Name, o.Role, sha256.Sum256([]byte("scanrelay browser sessions " + o.Token.Reveal()))}
		n.operators[n.hash(o.Token)], n.names[o.Name] = known, known
	}
	return n
}

// PlainHex is a fingerprint as tools print it, without colons and in small letters.
func PlainHex(pin string) string { return strings.ToLower(strings.ReplaceAll(pin, ":", "")) }

func (c *credentials) hash(token secret.Text) [32]byte {
	mac := hmac.New(sha256.New, c.key[:])
	mac.Write([]byte(token.Reveal()))
	return [32]byte(mac.Sum(nil))
}
