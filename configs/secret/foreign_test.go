package secret

import (
	"strings"
	"testing"
)

func TestForeign(t *testing.T) {
	for text, want := range map[string]string{
		"invalid ip 1.2.3.4 ipv6 ::ffff:1.2.3.4, not in whitelist": "",
		"reach max api daily quota limit":                          "",
		"dial tcp 127.0.0.1:8080: connect: connection refused":     "",
		"errcode 40001, access_token expired":                      "",
		"the body has more than 1048576 bytes":                     "the body has more than *** bytes",
		"receiver 李四 of 浙江省绍兴市 has no phone":                       "receiver … of … has no phone",
		"no such user: Li Si, 12 Hengshan Rd":                      "no such user: … …, 12 … …",
		"phone 13800138000, 138 0013 8000, 138-0013-8000":          "phone ***, ***, ***",
		"phone 138.0013.8000 or +86 138 0013 8000.":                "phone *** or +***.",
		"waybill YT6900634716900 not found":                        "waybill *** not found",
		"phone １３８００１３８０００ unknown":                                "phone *** unknown",
		"phone 138,0013,8000 or 138、0013、8000 or 138—0013—8000":    "phone *** or *** or ***",
		"phone 138\u00a00013\u00a08000 or １３８ ００１３ ８０００":           "phone *** or ***",
		"dial fe80::1%李四 or [fe80::1%李四]:80":                       "dial …::1%… or […::1%…]:80",
		"dial fe80::1 or 10.0.0.1":                                 "",
		"{\"name\":\"zhang_san\",\"addr\":\"x\"}":                  "{\"name\":\"…\",\"…\":\"x\"}",
		"": "",
	} {
		if want == "" {
			want = text
		}
		if got := Foreign(text); got != want {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
	}
}

func TestForeignKeepsOurs(t *testing.T) {
	for text, want := range map[string]string{
		`the token is not one for depot "nb-07": scanrelay depot reset nb-07`: `the token is not one for depot "nb-07": scanrelay depot reset nb-07`,
		"李四, nb-07 of xnb-07": "…, nb-07 of …-07",
	} {
		if got := Foreign(text, "nb-07", ""); got != want {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
	}
}

func FuzzForeign(f *testing.F) {
	f.Add("李四 phone 13800138000, 138 0013 8000")
	f.Add("fe80::1%李四")
	f.Fuzz(func(t *testing.T, text string) {
		got := Foreign(text)
		for _, bad := range []string{"李", "13800138000", "zhang"} {
			if strings.Contains(got, bad) {
				t.Errorf("%q is shown as %q", text, got)
			}
		}
	})
}
