package configs

import (
	"encoding/base64"
	"fmt"
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
	c.serverTLS("tls", a.TLS)
	c.required("data_dir", a.DataDir)
	c.centralStore(a.Store)
	c.account(a.WeChat)
	c.depots(a)
	c.token("admin_token", a.AdminToken)
	if a.AdminToken == "" {
		c.warn("admin_token", "is empty: waybill data can't be imported and the fleet page is closed")
	}
	c.cells(a.Cells)
	c.atLeast("retain", a.Retain, time.Hour)
	c.log(a.Log)
}

func (c *checker) centralStore(s CentralStore) {
	if s.Driver != "bbolt" {
		c.bad("store.driver", "%q is not in this build; use bbolt", s.Driver)
	} else if s.DSN != "" {
		c.bad("store.dsn", "is for drivers that this build has not; bbolt takes none")
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
	c.callback(w.Callback)
}

// reserved are the paths that the centre has for other things.
var reserved = []string{"/", "/v1", "/jsonp", "/healthz", "/readyz", "/metrics"}

func (c *checker) callback(b Callback) {
	const key = "wechat.callback"
	if !strings.HasPrefix(b.Path, "/") || strings.ContainsAny(b.Path, "?#{}") || strings.ContainsFunc(b.Path, blank) {
		c.bad(key+".path", "%q is no path; write one as /wechat/callback", b.Path)
	}
	for _, r := range reserved {
		if b.Path == r || r != "/" && strings.HasPrefix(b.Path, r+"/") {
			c.bad(key+".path", "%q is taken by the centre's own pages", b.Path)
		}
	}
	c.required(key+".token", b.Token.Reveal())
	c.oneOf(key+".mode", b.Mode, []string{"secure", "compat", "plain"})
	if b.Mode != "plain" || b.EncodingAESKey != "" {
		c.aesKey(key+".encoding_aes_key", b.EncodingAESKey)
	}
	c.atLeast(key+".max_skew", b.MaxSkew, 0)
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

func (c *checker) depots(a *Central) {
	ids, tokens := map[scan.DepotID]int{}, map[secret.Text]int{}
	for i, d := range a.Depots {
		key := fmt.Sprintf("depots[%d]", i)
		if c.depotID(key+".id", d.ID) {
			if j, ok := ids[d.ID]; ok {
				c.bad(key+".id", "%q is depots[%d] already", d.ID, j)
			} else {
				ids[d.ID] = i
			}
		}
		c.token(key+".token", d.Token)
		j, ok := tokens[d.Token]
		switch {
		case d.Token == "" && a.TLS.ClientCAFile == "":
			c.bad(key+".token", "is required unless depots show certificates (tls.client_ca_file)")
		case d.Token == "":
		case ok:
			c.bad(key+".token", "is the token of depots[%d]; each depot has its own", j)
		case d.Token == a.AdminToken:
			c.bad(key+".token", "is the admin_token; a depot has its own")
		default:
			tokens[d.Token] = i
		}
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
