package decode

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestAlmostJSON(t *testing.T) {
	for in, want := range map[string]string{
		"{\"c\":\"YT1\r\"}":                                    `{"c":"YT1\u000d"}`,
		"{\"c\":\"\x1d00YT1\",\"l\":\"\x05\"}":                 `{"c":"\u001d00YT1","l":"\u0005"}`,
		"{\"c\":\"a\nb\"}\n{\"c\":\"x\"}":                      `{"c":"a\u000ab"} {"c":"x"}`,
		"\"YT1\r\"":                                            `"YT1\u000d"`,
		`{"c":"a","w":nan,"v":-inf,"u":Infinity}`:              `{"c":"a","w":null,"v":null,"u":null}`,
		`{"w":NaN,"x":+Infinity,"y":-nan(ind)}`:                `{"w":null,"x":null,"y":null}`,
		`{"w":1.#QNAN,"x":-1.#IND,"y":1.#INF}`:                 `{"w":null,"x":null,"y":null}`,
		`[undefined,None,nil,N/A]`:                             `[null,null,null,null]`,
		`{"ok":True,"no":FALSE,"n":NULL}`:                      `{"ok":true,"no":false,"n":null}`,
		`{"p":"C:\scan\data","d":"\d+"}`:                       `{"p":"C:\\scan\\data","d":"\\d+"}`,
		`{"c":"\x1dYT1\x4"}`:                                   `{"c":"\u001dYT1\\x4"}`,
		`{"c":"\u12"}`:                                         `{"c":"\\u12"}`,
		`{'code':'YT1','say':'it\'s "x"'}`:                     `{"code":"YT1","say":"it's \"x\""}`,
		`{code:"YT1",at_ms:17}`:                                `{"code":"YT1","at_ms":17}`,
		`{"c":"YT1",}`:                                         `{"c":"YT1"}`,
		`["a","b",]`:                                           `["a","b"]`,
		`{"c":"YT1","w":,"v":}`:                                `{"c":"YT1","w":null,"v":null}`,
		`{"c":007863,"w":+5,"x":.5,"y":1.}`:                    `{"c":"007863","w":"+5","x":".5","y":"1."}`,
		`{"c":YT6900634716900}`:                                `{"c":"YT6900634716900"}`,
		`{"at":2026-11-23T15:30:00Z}`:                          `{"at":"2026-11-23T15:30:00Z"}`,
		"\x02{\"c\":\"a\"}\x03\x02{\"c\":\"b\"}\x00":           `{"c":"a"} {"c":"b"}`,
		"{\"c\":\x00\"a\"}":                                    `{"c":"a"}`,
		`{u'c': u'YT1', "d": b'x'}`:                            `{"c":"YT1","d":"x"}`,
		`b'{"c":"YT1"}'`:                                       `"{\"c\":\"YT1\"}"`,
		`'{"c":"YT1"}'`:                                        `"{\"c\":\"YT1\"}"`,
		"{\"c\":\"a\" // code\n,/* \n * */\"u\":\"http://x\"}": `{"c":"a","u":"http://x"}`,
		"{\"c\":\"a\"\n{\"c\":\"b\"}":                          `{"c":"b"}`, // a line that was cut off
		`{"c":"a"},{"c":"b"};`:                                 `{"c":"a"} {"c":"b"}`,

		`{"c":"a" "d":"b"}`: `{"c":"a","d":"b"}`,
		"{\"c\":\"a\"\r\n\"w\":1.5 \"d\":[1]\n'e':{}\"f\":2}": `{"c":"a","w":1.5,"d":[1],"e":{},"f":2}`,
		"[{\"c\":\"a\"}\n{\"c\":\"b\"}]":                      `[{"c":"a"},{"c":"b"}]`,

		// What ends too early, or is something else, is no JSON.
		`{"c":"YT69006347`:       "",
		`{"c":"YT6900634716900"`: "",
		`{"c":YT69006`:           "",
		`["a","b"`:               "",
		`{"c":"say "hi""}`:       "",
		`{"c":"say "hi": x"}`:    "",
		`{"c":"a""d":"b"}`:       "",
		`{"c":"a" "d"}`:          "",
		`{"c":"a" d:"b"}`:        "",
		`["a" "b"]`:              "",
		`[{"c":"a"} "b"]`:        "",
		`[1 {"c":"a"}]`:          "",
		`{"c":"a"}}`:             "",
		`{"c"}`:                  "",
		`,{"c":"a"}`:             "",
		`{"c":"a" /* }`:          "",
		`{"c":"a" // }`:          "",
		`u"`:                     "",
		`{"c":"a\`:               "",
		`hello`:                  "",
		`YT6900634716900`:        "",
		`{hello}`:                "",
		`[a b]`:                  "",
		strings.Repeat(`{a:`, 300) + "1" + strings.Repeat("}", 300): "",
	} {
		docs, err := JSON([]byte(in), false)
		var got []string
		for _, d := range docs {
			if d.Err == nil {
				got = append(got, string(d.Root.Raw()))
			}
		}
		if s := strings.Join(got, " "); s != want || (err == nil) != (want != "") {
			t.Errorf("%q reads %s, %v, want %s", in, s, err, want)
		}
	}
}

// A right line among others that are almost JSON is not marked.
func TestMendedSaysWhat(t *testing.T) {
	docs, err := JSON([]byte(`{"c":"a"}`+"\n"+`{"c":"b","w":NaN}`), false)
	if err != nil || len(docs) != 2 || docs[0].Mended != "" || docs[1].Mended != "NaN at byte 24" {
		t.Errorf("%+v, %v", docs, err)
	}
	docs, err = JSON([]byte("{\"c\":\"a\x05\"}\n{\"c\":\n{\"c\":\"b\"}"), false)
	if err != nil || len(docs) != 3 || docs[0].Mended == "" || docs[1].Err == nil || docs[2].Mended != "" {
		t.Errorf("%+v, %v", docs, err)
	}
	if docs, err := JSON([]byte(`{"c":"a"}`), false); err != nil || docs[0].Mended != "" {
		t.Errorf("%+v, %v", docs, err)
	}
}

// What was JSON is left as it is, and what was not is JSON then, of a bounded size.
func FuzzMend(f *testing.F) {
	for _, s := range []string{"{\"a\":\"\x01\"}", `{'a':nan,b:007,"c":"\q",}`, `[,]`, "{\"a\":1}\x00{}", `{"a":{"b":[1,2,{}]}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		values, ok := mend(payload)
		if !ok {
			return
		}
		for _, v := range values {
			if !json.Valid(v.json) || len(v.json) > maxMended+1024 {
				t.Errorf("%q became %q", payload, v.json)
			}
		}
	})
}
