package configs

import (
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"scanrelay/configs/wait"
)

// decoder puts a YAML tree into a struct. It goes on after a mistake and
// remembers where each key was given.
type decoder struct {
	inline  []string // keys of the secrets that stand in the file itself
	file    string
	places  map[string]place
	wrong   map[string]bool // keys with an error
	anchors map[string]ast.Node
	nodes   int
	found   Problems
	// fixed makes every key's place that of an environment variable.
	fixed *place
}

// place is where a key was given.
type place struct {
	file   string
	line   int
	secret bool // it is that of a secret's file, <key>_file
	first  int  // which of all sources is the first of this file
}

// element is a list element or map value with defaults of its own.
type element interface{ SetDefaults() }

func newDecoder(file string) *decoder {
	return &decoder{file: file, places: map[string]place{}, wrong: map[string]bool{}}
}

// maxProblems bounds how much is said about one file.
const maxProblems = 200

func (d *decoder) fail(p place, key, format string, args ...any) {
	if len(d.found) >= maxProblems {
		return
	}
	d.wrong[key] = true
	d.found = append(d.found, Problem{File: p.file, Line: p.line, Key: p.as(key), Text: fmt.Sprintf(format, args...)})
}

func (d *decoder) at(n ast.Node) place {
	if d.fixed != nil {
		return *d.fixed
	}
	return place{file: d.file, line: lineOf(n)}
}

// placeOf returns where key was given, or the nearest key above it.
func (d *decoder) placeOf(key string) place {
	for key != "" {
		if p, ok := d.places[key]; ok {
			return p
		}
		key = key[:max(0, strings.LastIndexAny(key, ".["))]
	}
	return place{file: d.file, line: 1}
}

// given reports whether key has a value from the file or the environment.
func (d *decoder) given(key string) bool { _, ok := d.places[key]; return ok }

func join(key, name string) string {
	if key == "" {
		return name
	}
	return key + "." + name
}

// decode puts n into v. What is null leaves the default as it is.
func (d *decoder) decode(n ast.Node, v reflect.Value, key string, depth int) {
	p := d.at(n)
	n, ok := d.resolve(n)
	d.nodes++
	switch {
	case !ok:
		d.fail(p, key, "is an alias of nothing that was given before")
		return
	case depth > maxDepth || d.nodes > maxNodes:
		if d.nodes <= maxNodes+1 {
			d.fail(p, key, "is nested too deep or too long")
		}
		d.nodes = maxNodes + 2
		return
	case n == nil || n.Type() == ast.NullType:
		return
	}
	if d.decodeScalarType(n, v, key, p) {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.decodeStruct(n, v, key, depth)
	case reflect.Map:
		d.decodeMap(n, v, key, depth)
	case reflect.Slice:
		d.decodeSlice(n, v, key, depth)
	default:
		panic("configs: no decoder for " + v.Type().String())
	}
}

// resolve follows anchors and aliases; false for an alias of an unknown anchor.
func (d *decoder) resolve(n ast.Node) (ast.Node, bool) {
	for range maxDepth {
		switch t := n.(type) {
		case *ast.AnchorNode:
			if d.anchors == nil {
				d.anchors = map[string]ast.Node{}
			}
			d.anchors[t.Name.GetToken().Value] = t.Value
			n = t.Value
		case *ast.AliasNode:
			target, ok := d.anchors[t.Value.GetToken().Value]
			if !ok {
				return nil, false
			}
			n = target
		default:
			return n, true
		}
	}
	return nil, false
}

// decodeScalarType decodes the types that are written as one word; false if v
// is none of them.
func (d *decoder) decodeScalarType(n ast.Node, v reflect.Value, key string, p place) bool {
	parse := scalarParser(v)
	if parse == nil {
		return false
	}
	text, ok := scalar(n)
	if !ok {
		d.fail(p, key, "must be %s, not %s", kindName(v), nodeName(n))
		return true
	}
	if err := parse(text); err != nil {
		d.fail(p, key, "%s", err)
	}
	return true
}

// words are the types that are written as one word of their own.
var words = map[reflect.Type]struct {
	name  string
	parse func(string) (any, error)
}{
	reflect.TypeFor[time.Duration](): {"a duration as 30s", func(s string) (any, error) { return wait.ParseDuration(s) }},
	reflect.TypeFor[Size]():          {"a size as 64MiB", func(s string) (any, error) { return parseSize(s) }},
	reflect.TypeFor[wait.Window]():   {"a part of the day as 01:00-05:00", func(s string) (any, error) { return wait.ParseWindow(s) }},
	reflect.TypeFor[Quota]():         {"a rate as 10/m", func(s string) (any, error) { return parseQuota(s) }},
	reflect.TypeFor[netip.Prefix]():  {"a text", func(s string) (any, error) { return parsePrefix(s) }},
}

// scalarParser returns what sets v from its text; nil if v is no scalar.
func scalarParser(v reflect.Value) func(string) error {
	if w, ok := words[v.Type()]; ok {
		return func(s string) error {
			x, err := w.parse(s)
			if err == nil { // else the default stays
				v.Set(reflect.ValueOf(x))
			}
			return err
		}
	}
	if set, ok := kinds[v.Kind()]; ok {
		return func(s string) error { return set(v, s) }
	}
	return nil
}

// kinds set a value of a basic kind from its text.
var kinds = map[reflect.Kind]func(reflect.Value, string) error{
	reflect.String: func(v reflect.Value, s string) error { v.SetString(s); return nil },
	reflect.Int: func(v reflect.Value, s string) error {
		x, err := strconv.ParseInt(strings.TrimSpace(s), 10, 32)
		if err != nil {
			return fmt.Errorf("%q is no whole number", s)
		}
		v.SetInt(x)
		return nil
	},
	reflect.Float64: func(v reflect.Value, s string) error {
		x, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
		if err != nil || x != x || x > 1e12 || x < -1e12 {
			return fmt.Errorf("%q is no number", s)
		}
		v.SetFloat(x)
		return nil
	},
	reflect.Bool: func(v reflect.Value, s string) error {
		if s != "true" && s != "false" {
			return fmt.Errorf("%q is neither true nor false", s)
		}
		v.SetBool(s == "true")
		return nil
	},
}

func kindName(v reflect.Value) string {
	if w, ok := words[v.Type()]; ok {
		return w.name
	}
	switch v.Kind() {
	case reflect.Int, reflect.Float64:
		return "a number"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "a mapping of keys to values"
	}
	return "a text"
}

func nodeName(n ast.Node) string {
	switch n.(type) {
	case ast.MapNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.TagNode:
		return "a tagged value (tags are not supported)"
	}
	return "a single value"
}

// decodeSlice takes a list, or one value as a list of one.
func (d *decoder) decodeSlice(n ast.Node, v reflect.Value, key string, depth int) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		if _, isScalar := scalar(n); !isScalar || scalarParser(reflect.New(v.Type().Elem()).Elem()) == nil {
			d.fail(d.at(n), key, "must be a list, not %s", nodeName(n))
			return
		}
		seq = &ast.SequenceNode{Values: []ast.Node{n}}
	}
	list := reflect.MakeSlice(v.Type(), 0, len(seq.Values))
	for i, value := range seq.Values {
		elem := reflect.New(v.Type().Elem())
		if e, ok := elem.Interface().(element); ok {
			e.SetDefaults()
		}
		at := fmt.Sprintf("%s[%d]", key, i)
		d.places[at] = d.at(value)
		d.decode(value, elem.Elem(), at, depth+1)
		list = reflect.Append(list, elem.Elem())
	}
	v.Set(list)
}
