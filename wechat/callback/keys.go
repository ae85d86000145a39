package callback

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"scanrelay/configs/secret"
)

// keys are a Token with an EncodingAESKey: what one call was made with.
type keys struct {
	token secret.Text
	crypt *Crypt // nil in plain mode
	aged  string // what of it is being replaced; "": nothing
}

// allKeys are those that c takes, the new ones first. Either of the two may be changed
// while the other stays, so each old one counts with each new one.
func (c *Config) allKeys() ([]keys, error) {
	var all []keys
	for _, t := range []struct {
		text secret.Text
		aged string
	}{{c.Token, ""}, {c.TokenOld, " token_old"}} {
		for _, k := range []struct {
			text secret.Text
			aged string
		}{{c.EncodingAESKey, ""}, {c.EncodingAESKeyOld, " encoding_aes_key_old"}} {
			if t.aged != "" && t.text == "" || k.aged != "" && (k.text == "" || !c.Mode.encrypted()) {
				continue
			}
			one := keys{token: t.text, aged: t.aged + k.aged}
			if c.Mode.encrypted() {
				var err error
				if one.crypt, err = NewCrypt(t.text, k.text, c.AppID); err != nil {
					return nil, fmt.Errorf("%s: %w", cmp.Or(strings.TrimSpace(one.aged), "keys"), err)
				}
			}
			all = append(all, one)
		}
	}
	return all, nil
}

// Prepare makes the Token and the EncodingAESKey of c, and their old ones, ready; use
// puts them in the place of those before. Nothing else of c is looked at.
func (h *Handler) Prepare(c Config) (use func(), err error) {
	c.AppID, c.Mode = h.c.AppID, h.c.Mode
	if c.Token == "" {
		return nil, fmt.Errorf("configure callback: token is missing")
	}
	all, err := c.allKeys()
	if err != nil {
		return nil, fmt.Errorf("configure callback: %w", err)
	}
	return func() { h.keys.Store(&all) }, nil
}

// agedEvery is how often the log says that WeChat still uses what is being replaced.
const agedEvery = 10 * time.Minute

// found notes which keys a call was made with.
func (h *Handler) found(k *keys) *keys {
	if k.aged == "" {
		return k
	}
	if more, due := h.aged.Due(h.c.Now()); due {
		h.c.Logger.Info("callback: WeChat still uses what is being replaced", "keys", k.aged[1:], "calls_since_last_line", more+1)
	}
	return k
}
