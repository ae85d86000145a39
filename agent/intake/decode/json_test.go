package decode

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestJSON(t *testing.T) {
	for name, c := range map[string]struct {
		payload string
		docs    []string // the documents' raw JSON; "!" for a broken one
		err     error
	}{
		"object":            {`{"a":1}`, []string{`{"a":1}`}, nil},
		"array":             {` [1,2] `, []string{`[1,2]`}, nil},
		"on lines":          {"{\"a\":1}\r\n{\"a\":2}\n", []string{`{"a":1}`, `{"a":2}`}, nil},
		"one after another": {`{"a":1}{"a":2}`, []string{`{"a":1}`, `{"a":2}`}, nil},
		"pretty, several":   {"{\n\"a\":1\n}\n{\n\"a\":2\n}", []string{"{\n\"a\":1\n}", "{\n\"a\":2\n}"}, nil},
		"a broken line":     {"{\"a\":1}\n{\"a\":\n{\"a\":3}", []string{`{"a":1}`, "!", `{"a":3}`}, nil},
		"framed lines":      {"\x02{\"a\":1}\x03\x02{\"a\":2}\x03", []string{`{"a":1}`, `{"a":2}`}, nil},
		"text":              {"NOREAD", nil, ErrNotJSON},
		"cut off":           {"{\n\"a\":1,\n\"b\":", nil, ErrNotJSON},
		"too deep":          {strings.Repeat("[", 200) + strings.Repeat("]", 200), nil, ErrTooLarge},
		"too many values":   {"[" + strings.Repeat("0,", maxNodes) + "0]", nil, ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			docs, err := JSON([]byte(c.payload), false)
			if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			var got []string
			for _, d := range docs {
				if d.Err != nil {
					got = append(got, "!")
					continue
				}
				got = append(got, string(d.Root.Raw()))
			}
			if strings.Join(got, "|") != strings.Join(c.docs, "|") {
				t.Errorf("documents %q, want %q", got, c.docs)
			}
		})
	}
}

func TestNotJSONSaysWhere(t *testing.T) {
	_, err := JSON([]byte(`{"a":x y}`), false)
	if err == nil || !strings.Contains(err.Error(), "byte 6") {
		t.Errorf("error %v names no place", err)
	}
}

func parse(t *testing.T, s string) *Node {
	t.Helper()
	docs, err := JSON([]byte(s), false)
	if err != nil {
		t.Fatal(err)
	}
	return &docs[0].Root
}

func TestFind(t *testing.T) {
	n := parse(t, `{"a":{"b/c":["x",{"~":"y"}]},"com.x":"z","num":3160000261634,"t":true,"nul":null,"dup":1,"dup":2,"esc":"\u4e2d\n"}`)
	for pointer, want := range map[string]string{
		"/a/b~1c/0": "x", "/a/b~1c/1/~0": "y", "/com.x": "z", "/num": "3160000261634", "/t": "true", "/dup": "2", "/esc": "中\n",
	} {
		p, err := ParsePointer(pointer)
		if err != nil || p.String() != pointer {
			t.Fatalf("pointer %s reads as %s", pointer, p)
		}
		found, ok := n.Find(p)
		if !ok {
			t.Errorf("%s: nothing found", pointer)
			continue
		}
		if got, _ := found.Text(); got != want {
			t.Errorf("%s: %q, want %q", pointer, got, want)
		}
	}
	for _, pointer := range []string{"/a/b", "/a/b~1c/2", "/a/b~1c/-1", "/a/b~1c/01", "/num/x", "/nul/x"} {
		p, _ := ParsePointer(pointer)
		if found, ok := n.Find(p); ok {
			t.Errorf("%s finds %s", pointer, found.Raw())
		}
	}
	for _, bad := range []string{"a", "/a~", "/~2", "/~~01"} {
		if _, err := ParsePointer(bad); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
}

// Gateways wrap what their devices send as a text.
func TestJSONInText(t *testing.T) {
	n := parse(t, `{"at":7,"p":"{\"codes\":[{\"c\":\"a\"},{\"c\":\"b\"}],\"q\":\"[1,2]\"}","list":" [\"x\",\"y\"]\n","no":"{","t":"YT1"}`)
	for pointer, want := range map[string]string{"/p/codes/1/c": "b", "/p/q/0": "1", "/list/1": "y"} {
		p, _ := ParsePointer(pointer)
		found, ok := n.Find(p)
		if !ok {
			t.Errorf("%s: nothing found", pointer)
			continue
		}
		if got, _ := found.Text(); got != want {
			t.Errorf("%s: %q, want %q", pointer, got, want)
		}
	}
	for _, pointer := range []string{"/no/x", "/t/0", "/p/codes/2", "/at/x"} {
		p, _ := ParsePointer(pointer)
		if found, ok := n.Find(p); ok {
			t.Errorf("%s finds %s", pointer, found.Raw())
		}
	}
	for pointer, want := range map[string]string{"/p/codes": `{"c":"a"} {"c":"b"}`, "/p/codes/*/c": `"a" "b"`, "/list": `"x" "y"`, "/t": `"YT1"`} {
		p, _ := ParsePointer(pointer)
		var got []string
		for _, e := range n.Expand(p) {
			got = append(got, string(e.Node.Raw()))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %s, want %s", pointer, got, want)
		}
	}
	p, _ := ParsePointer("/p/codes")
	e := n.Expand(p)[1]
	apart := parse(t, string(Apart(e.Node, e.Around)))
	if again := apart.Expand(p); len(again) != 1 || string(again[0].Node.Raw()) != `{"c":"b"}` {
		t.Errorf("apart it is %s", apart.Raw())
	}
}

func TestExpand(t *testing.T) {
	n := parse(t, `{"r":[{"n":"1","s":[{"d":"a"},{"d":"b"}]},{"n":"2","s":{"d":"c"}},{"n":"3"},{"n":"4","s":null},{"n":"5","s":[]}],"o":{"x":1,"y":2}}`)
	for pointer, want := range map[string]string{
		"/r/*/s": `{"d":"a"} {"d":"b"} {"d":"c"} null`,
		"/r/0/s": `{"d":"a"} {"d":"b"}`,
		"/o/*":   `1 2`,
		"/no":    ``,
		"/r/*/n": `"1" "2" "3" "4" "5"`,
	} {
		p, _ := ParsePointer(pointer)
		var got []string
		for _, e := range n.Expand(p) {
			got = append(got, string(e.Node.Raw()))
			if last := e.Around[len(e.Around)-1]; last != n {
				t.Errorf("%s: the whole is not around %s", pointer, e.Node.Raw())
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", pointer, got, want)
		}
	}
	p, _ := ParsePointer("/r/*/s")
	if name, ok := n.Expand(p)[2].Around[0].Member("n"); !ok || string(name.Raw()) != `"2"` {
		t.Error("what is around an element is not its own reader")
	}
}

func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,{"b":null}]}`, "{}\n{}", `"\ud800"`, "[1e5,-0,tru", "\x02{}\x03", "{\"a\":\n1}\n{", `{"a":"e30=","b":"7b7d","c":[123,125,32,32],"d":{"type":"Buffer","data":[123,34,97,34,58,49,125]}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		docs, err := JSON(payload, false)
		if err != nil {
			return
		}
		for _, d := range docs {
			if d.Err != nil {
				continue
			}
			check(t, &d.Root)
			goInside(&d.Root, 0)
			if !json.Valid(d.Root.Raw()) {
				t.Errorf("a document is no JSON: %q", d.Root.Raw())
			}
		}
	})
}

// goInside looks into all that a value may hold.
func goInside(n *Node, depth int) {
	if in := n.Inside(); in != n && depth < 20 {
		goInside(in, depth+1)
	}
	for i := range n.kids {
		goInside(&n.kids[i], depth)
	}
}

// check holds a tree against what encoding/json reads from the same bytes.
func check(t *testing.T, n *Node) {
	var want any
	dec := json.NewDecoder(bytes.NewReader(n.Raw()))
	dec.UseNumber()
	if err := dec.Decode(&want); err != nil {
		t.Fatalf("%q: %v", n.Raw(), err)
	}
	same(t, n, want)
}

func same(t *testing.T, n *Node, want any) {
	text, scalar := n.Text()
	switch want := want.(type) {
	case nil:
		if n.Kind != Null {
			t.Errorf("%q is %d, want null", n.Raw(), n.Kind)
		}
	case string:
		if !scalar || text != want {
			t.Errorf("%q reads %q, want %q", n.Raw(), text, want)
		}
	case json.Number:
		if !scalar || text != Digits(string(want)) {
			t.Errorf("%q reads %q, want %q", n.Raw(), text, want)
		}
	case []any:
		if n.Kind != Array || len(n.Kids()) != len(want) {
			t.Fatalf("%q is no array of %d", n.Raw(), len(want))
		}
		for i := range want {
			same(t, &n.Kids()[i], want[i])
		}
	case map[string]any:
		for key, value := range want {
			kid, ok := n.Member(key)
			if !ok {
				t.Fatalf("%q has no %q", n.Raw(), key)
			}
			same(t, kid, value)
		}
	}
}
