package configs

import (
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"scanrelay/agent/scan"
	"scanrelay/configs/secret"
)

func (c *checker) central(a *Central) {
	c.listen("listen", a.Listen)
	if a.OpsListen != "" {
		c.listen("ops_listen", a.OpsListen)
		c.inClear("ops_listen", a.OpsListen)
	}
	c.serverTLS("tls", a.TLS)
	if a.TLS.CertFile == "" {
		c.inClear("listen", a.Listen)
	}
	c.required("data_dir", a.DataDir)
	c.centralStore(a.Store)
	c.account(a.WeChat)
	tokens := map[secret.Text]string{}
	c.ownToken("admin_token", a.AdminToken, tokens)
	if a.AdminToken == "" && len(a.Operators) == 0 {
		c.warn("admin_token", "is empty and there are no operators: waybill data can't be imported and the fleet page is closed")
	}
	c.operators(a.Operators, tokens)
	c.depots(a, tokens)
	c.origins(a)
	c.atLeast("identity.enrol_valid", a.Identity.EnrolValid, time.Minute)
	c.atLeast("identity.session", a.Identity.Session, time.Minute)
	c.backup(a)
	c.updates(a.Updates)
	c.cells(a.Cells)
	c.atLeast("retain", a.Retain, time.Hour)
	c.log(a.Log)
}

func (c *checker) centralStore(s CentralStore) {
	c.oneOf("store.driver", s.Driver, []string{"bbolt", "postgres"})
	c.number("store.max_conns", s.MaxConns, 2, 1000)
	switch {
	case s.Driver == "postgres" && c.required("store.dsn", s.DSN.Reveal()):
		c.dsn("store.dsn", s.DSN.Reveal())
	case s.Driver == "bbolt" && s.DSN != "":
		c.bad("store.dsn", "is for postgres; bbolt keeps its files in data_dir")
	}
	c.masterKeys("store.key", s)
}

// masterKeys checks the keys under which the store keeps its own. What it says shows
// nothing of them.
func (c *checker) masterKeys(key string, s CentralStore) {
	keys := strings.Fields(s.Key.Reveal())
	if len(keys) == 0 && s.Driver == "postgres" {
		c.warn(key, "is empty: with postgres a key is needed, the same for all processes; a start takes none but the systemd credential scanrelay-centre-key then")
	}
	seen := map[string]int{}
	for i, k := range keys {
		if _, err := hex.DecodeString(k); err != nil || len(k) != 64 {
			c.bad(key, "key %d is not 64 hex digits, as openssl rand -hex 32 prints them", i+1)
			continue
		}
		if other, ok := seen[strings.ToLower(k)]; ok {
			c.bad(key, "key %d is the same as key %d", i+1, other)
			continue
		}
		seen[strings.ToLower(k)] = i + 1
	}
}

func (c *checker) backup(a *Central) {
	b := a.Backup
	c.number("backup.keep", b.Keep, 1, 1000)
	data, err1 := filepath.Abs(a.DataDir)
	dir, err2 := filepath.Abs(b.Dir)
	inside, err := filepath.Rel(data, dir)
	switch err = errors.Join(err, err1, err2); {
	case b.Dir == "" && b.Every == 0:
	case a.Store.Driver == "postgres":
		c.bad("backup", "is for bbolt; PostgreSQL is backed up by its own tools, pg_dump or pg_basebackup")
	case b.Dir == "":
		c.bad("backup.dir", "is required with backup.every: a folder, best on another disk")
	case b.Every == 0:
		c.bad("backup.every", "is required with backup.dir, as in 24h")
	case err == nil && filepath.IsLocal(inside):
		c.bad("backup.dir", "lies in data_dir: what happens to one happens to the other; give a folder elsewhere, best on another disk")
	}
	if b.Every != 0 {
		c.atLeast("backup.every", b.Every, time.Minute)
	}
}

// updates checks that there is something to serve.
func (c *checker) updates(u Updates) {
	if u.Dir == "" {
		if u.TimestampKeyFile != "" {
			c.bad("updates.dir", "is required with updates.timestamp_key_file: the folder of the repository")
		}
		return
	}
	if info, err := os.Stat(u.Dir); err != nil || !info.IsDir() {
		c.bad("updates.dir", "%s is no folder: scanrelay release init makes one", u.Dir)
	}
	if u.TimestampKeyFile == "" {
		c.warn("updates.timestamp_key_file", "is empty: the publisher has to sign the timestamp every month, else gateways take nothing new")
		return
	}
	if f, err := os.Open(u.TimestampKeyFile); err != nil {
		c.bad("updates.timestamp_key_file", "%s cannot be read: %s", u.TimestampKeyFile, why(err))
	} else {
		_ = f.Close() // it was only read
		c.exposed("updates.timestamp_key_file", u.TimestampKeyFile)
	}
	if inside, err := filepath.Rel(u.Dir, u.TimestampKeyFile); err == nil && filepath.IsLocal(inside) {
		c.bad("updates.timestamp_key_file", "lies in updates.dir, which is copied and served: keep the key elsewhere")
	}
}

// dsn checks how PostgreSQL is reached, as far as that goes without asking it.
// What it says shows nothing of the DSN, which may hold a password.
func (c *checker) dsn(key, dsn string) {
	hosts, mode := "", ""
	if u, err := url.Parse(dsn); strings.Contains(dsn, "://") {
		if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
			c.bad(key, "is no URL of a database; write one as postgres://user:password@host:5432/database?sslmode=verify-full")
			return
		}
		hosts, mode = cmp.Or(u.Host, u.Query().Get("host")), u.Query().Get("sslmode")
	} else {
		word := func(name string) string {
			m := regexp.MustCompile(`(?:^|\s)` + name + `\s*=\s*'?([^'\s]*)`).FindStringSubmatch(dsn)
			if m == nil {
				return ""
			}
			return m[1]
		}
		if !strings.Contains(dsn, "=") {
			c.bad(key, "is neither a URL nor key=value, as in host=db.example port=5432 dbname=scanrelay user=scanrelay")
			return
		}
		hosts, mode = word("host"), word("sslmode")
	}
	for host := range strings.SplitSeq(hosts, ",") {
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		if host != "" && !strings.HasPrefix(host, "/") && !secret.ThisMachine(host) && mode != "verify-full" && mode != "verify-ca" {
			c.warn(key, "names another machine without sslmode=verify-full: whoever stands between reads, or is, the database")
			return
		}
	}
}

func (c *checker) account(w WeChatAccount) {
	if c.required("wechat.base_url", w.BaseURL) {
		c.url("wechat.base_url", w.BaseURL, "https", "http")
	}
	if w.Rate <= 0 {
		c.bad("wechat.rate", "must be more than 0")
	}
	if c.required("wechat.appid", w.AppID) && strings.ContainsAny(w.AppID, " \t\r\n") {
		c.bad("wechat.appid", "must not hold blanks")
	}
	c.required("wechat.secret", w.Secret.Reveal())
	c.old("wechat.secret", w.Secret, w.SecretOld)
	c.callback(w.Callback)
}

// reserved are the paths that the centre has for other things.
var reserved = []string{"/", "/v1", "/jsonp", "/healthz", "/readyz", "/metrics", "/signin", "/signout", "/depots", "/waybills", "/audit"}

func (c *checker) callback(b Callback) {
	const key = "wechat.callback"
	if !strings.HasPrefix(b.Path, "/") || strings.ContainsAny(b.Path, "?#{}") || strings.ContainsFunc(b.Path, blank) {
		c.bad(key+".path", "%q is no path; write one as /wechat/callback", b.Path)
	}
	for _, r := range reserved {
		if at := path.Clean(b.Path); at == r || r != "/" && strings.HasPrefix(at, r+"/") {
			c.bad(key+".path", "%q is taken by the centre's own pages", b.Path)
		}
	}
	c.callbackToken(key+".token", b.Token)
	c.oneOf(key+".mode", b.Mode, []string{"secure", "compat", "plain"})
	if b.Mode != "plain" || b.EncodingAESKey != "" {
		c.aesKey(key+".encoding_aes_key", b.EncodingAESKey)
	}
	if b.TokenOld != "" {
		c.callbackToken(key+".token_old", b.TokenOld)
	}
	c.old(key+".token", b.Token, b.TokenOld)
	if b.EncodingAESKeyOld != "" {
		c.aesKey(key+".encoding_aes_key_old", b.EncodingAESKeyOld)
	}
	c.old(key+".encoding_aes_key", b.EncodingAESKey, b.EncodingAESKeyOld)
	c.atLeast(key+".max_skew", b.MaxSkew, 0)
}

// old tells of a secret that counts beside the one that takes its place.
func (c *checker) old(key string, next, old secret.Text) {
	switch {
	case old == "":
	case old == next:
		c.warn(key+"_old", "is the same as %s: put the new one there, and the one before here", key)
	default:
		c.warn(key+"_old", "counts beside %s: take it away once WeChat's console shows the new one", key)
	}
}

// callbackToken checks the Token of WeChat's console.
func (c *checker) callbackToken(key string, s secret.Text) {
	text := s.Reveal()
	switch {
	case !c.required(key, text):
	case strings.ContainsFunc(text, blank):
		c.bad(key, "holds a blank, which no Token of WeChat's console does")
	case strings.ContainsFunc(text, func(r rune) bool { return !letterOrDigit(r) }) || len(text) < 3 || len(text) > 32:
		c.warn(key, "is none that WeChat's console takes: a Token has 3 to 32 letters and digits")
	}
}

func letterOrDigit(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

// blank reports what no path holds as it stands.
func blank(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }

// aesKey checks WeChat's 43 characters of base64. Its last character may carry
// stray bits (README of package wechat, Frame).
func (c *checker) aesKey(key string, s secret.Text) {
	if !c.required(key, s.Reveal()) {
		return
	}
	text := s.Reveal()
	if len(text) != 43 {
		c.bad(key, "has %d characters; WeChat's EncodingAESKey has 43", len(text))
		return
	}
	if _, err := base64.StdEncoding.DecodeString(text + "="); err != nil {
		c.bad(key, "is not the EncodingAESKey of WeChat's console: it holds other characters than letters, digits, + and /")
	}
}

// ownToken checks a bearer token that nobody else may have; tokens are those before
// it, with where they stand.
func (c *checker) ownToken(key string, token secret.Text, tokens map[secret.Text]string) {
	c.token(key, token)
	if token == "" {
		return
	}
	if other, ok := tokens[token]; ok {
		c.bad(key, "is the same as %s; everybody has a token of their own", other)
		return
	}
	tokens[token] = key
}

func (c *checker) depots(a *Central, tokens map[secret.Text]string) {
	ids, pins := map[scan.DepotID]int{}, map[string]string{}
	for i, d := range a.Depots {
		key := fmt.Sprintf("depots[%d]", i)
		if c.depotID(key+".id", d.ID) {
			if j, ok := ids[d.ID]; ok {
				c.bad(key+".id", "%q is depots[%d] already", d.ID, j)
			} else {
				ids[d.ID] = i
			}
		}
		c.ownToken(key+".token", d.Token, tokens)
		c.ownToken(key+".token_next", d.TokenNext, tokens)
		if d.Token == "" && a.TLS.ClientCAFile == "" {
			c.bad(key+".token", "is required unless depots show certificates (tls.client_ca_file)")
		}
		for j, pin := range d.CertSHA256 {
			c.pin(fmt.Sprintf("%s.cert_sha256[%d]", key, j), pin, pins)
		}
		if len(d.CertSHA256) > 0 && a.TLS.ClientCAFile == "" {
			c.bad(key+".cert_sha256", "needs tls.client_ca_file: only then depots are asked for certificates")
		}
	}
}

// pin checks a fingerprint as openssl prints it, with colons or without.
func (c *checker) pin(key, pin string, pins map[string]string) {
	plain := strings.ToLower(strings.ReplaceAll(pin, ":", ""))
	if _, err := hex.DecodeString(plain); err != nil || len(plain) != 64 {
		c.bad(key, "is no SHA-256 fingerprint: openssl x509 -noout -fingerprint -sha256 -in FILE prints it")
		return
	}
	if other, ok := pins[plain]; ok {
		c.bad(key, "is %s already; a certificate is one depot's", other)
		return
	}
	pins[plain] = key
}

var roles = []string{"viewer", "operator", "importer", "admin"}

func (c *checker) operators(list []Operator, tokens map[secret.Text]string) {
	names := map[string]bool{"admin": true}
	for i, o := range list {
		key := fmt.Sprintf("operators[%d]", i)
		if c.required(key+".name", o.Name) {
			switch {
			case names[o.Name]:
				c.bad(key+".name", "%q is somebody already (admin is the admin_token's name)", o.Name)
			case strings.ContainsFunc(o.Name, blank) || utf8.RuneCountInString(o.Name) > 40:
				c.bad(key+".name", "must be a word of at most 40 characters")
			}
		}
		names[o.Name] = true
		if c.required(key+".token", o.Token.Reveal()) {
			c.ownToken(key+".token", o.Token, tokens)
		}
		if c.required(key+".role", o.Role) {
			c.oneOf(key+".role", o.Role, roles)
		}
	}
}

// origins checks by which addresses depots reach the centre.
func (c *checker) origins(a *Central) {
	for i, o := range a.Origins {
		key := fmt.Sprintf("origins[%d]", i)
		u := c.url(key, o, "https", "http")
		if u != nil && strings.Trim(u.Path, "/") != "" {
			c.bad(key, "ends after host and port, as https://centre.example.com")
		}
		if u != nil && !secret.MayGoTo(u) {
			c.bad(key, "must be https: a depot proves its identity by https only, but on this machine")
		}
	}
	if host, _, err := net.SplitHostPort(a.Listen); len(a.Origins) == 0 && err == nil && !secret.ThisMachine(host) {
		c.warn("origins", "is empty: it is not checked that depots which prove their identity mean this centre; name the addresses by which they reach it")
	}
}

var miniProgramPath = regexp.MustCompile(`^/?[A-Za-z0-9_][A-Za-z0-9_/.-]*(\?\S*)?$`)

func (c *checker) cells(cells []Cell) {
	seen := map[string]bool{}
	for i, cell := range cells {
		key := fmt.Sprintf("cells[%d]", i)
		if c.required(key+".key", cell.Key) {
			if seen[cell.Key] {
				c.bad(key+".key", "%q is given twice", cell.Key)
			}
			if utf8.RuneCountInString(cell.Key) > 20 {
				c.bad(key+".key", "is longer than 20 characters")
			}
		}
		seen[cell.Key] = true
		c.required(key+".name", cell.Name)
		if c.required(key+".link", cell.Link) {
			c.link(key+".link", cell.Link)
		}
	}
}

// link checks an https URL or a mini-program path, with {waybill_id} or not.
func (c *checker) link(key, link string) {
	plain := strings.ReplaceAll(link, "{waybill_id}", "0")
	if strings.ContainsAny(plain, "{}") {
		c.bad(key, "may hold {waybill_id} and no other braces")
		return
	}
	if strings.HasPrefix(plain, "https://") && len(plain) > len("https://") && !strings.ContainsAny(plain, " \t\r\n") {
		return
	}
	if strings.Contains(plain, "://") || !miniProgramPath.MatchString(plain) {
		c.bad(key, "must be an https URL or a mini-program path, as in pages/waybill?id={waybill_id}")
	}
}
