package configs

import (
	"os"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"scanrelay/configs/nearest"
	"scanrelay/configs/secret"
	"scanrelay/configs/textfile"
)

// pair is one key of a mapping with its value.
type pair struct {
	key   string
	at    place
	value ast.Node
}

// pairs lists a mapping's keys. Duplicates are reported; keys of a merge (<<)
// come in where the mapping has none of its own.
func (d *decoder) pairs(n ast.Node, key string, depth int) []pair {
	m, ok := n.(ast.MapNode)
	if !ok {
		d.fail(d.at(n), key, "must be a mapping of keys to values, not %s", nodeName(n))
		return nil
	}
	var own, merged []pair
	seen := map[string]bool{}
	for it := m.MapRange(); it.Next(); {
		k := it.Key()
		if k.IsMergeKey() {
			merged = append(merged, d.merge(it.Value(), key, depth+1)...)
			continue
		}
		name, ok := keyText(k)
		if !ok {
			d.fail(d.at(k), key, "a key must be a single word")
			continue
		}
		if seen[name] {
			d.fail(d.at(k), join(key, name), "is given twice")
			continue
		}
		seen[name] = true
		own = append(own, pair{name, d.at(k), it.Value()})
	}
	for _, p := range merged {
		if !seen[p.key] {
			seen[p.key] = true
			own = append(own, p)
		}
	}
	return own
}

// merge lists the keys that << brings in from one mapping or a list of them.
func (d *decoder) merge(n ast.Node, key string, depth int) (out []pair) {
	at := d.at(n)
	n, ok := d.resolve(n)
	d.nodes++
	if !ok || depth > maxDepth || d.nodes > maxNodes {
		d.fail(at, join(key, "<<"), "merges nothing that was given before")
		return nil
	}
	if seq, ok := n.(*ast.SequenceNode); ok {
		for _, v := range seq.Values {
			out = append(out, d.merge(v, key, depth+1)...)
		}
		return out
	}
	return d.pairs(n, key, depth)
}

func keyText(k ast.MapKeyNode) (string, bool) {
	if c, ok := k.(*ast.MappingKeyNode); ok {
		return scalar(c.Value)
	}
	if _, ok := k.(*ast.NullNode); ok {
		return "null", true
	}
	return scalar(k)
}

func (d *decoder) decodeMap(n ast.Node, v reflect.Value, key string, depth int) {
	m := reflect.MakeMap(v.Type())
	for _, p := range d.pairs(n, key, depth) {
		at := join(key, p.key)
		d.places[at] = p.at
		elem := reflect.New(v.Type().Elem())
		if e, ok := elem.Interface().(element); ok {
			e.SetDefaults()
		}
		d.decode(p.value, elem.Elem(), at, depth+1)
		m.SetMapIndex(reflect.ValueOf(p.key), elem.Elem())
	}
	v.Set(m)
}

func (d *decoder) decodeStruct(n ast.Node, v reflect.Value, key string, depth int) {
	for _, p := range d.pairs(n, key, depth) {
		at := join(key, p.key)
		if field := fieldOf(v, p.key); field.IsValid() {
			d.places[at] = p.at
			d.decode(p.value, field, at, depth+1)
			if isSecret(field) && field.String() != "" {
				d.inline = append(d.inline, at)
			}
			continue
		}
		base, isFile := strings.CutSuffix(p.key, "_file")
		if field := fieldOf(v, base); isFile && isSecret(field) {
			p.at.secret = true
			d.places[at] = p.at
			d.secretFile(p, field, at)
			continue
		}
		d.fail(p.at, at, "%s", nearest.Unknown("key", p.key, fieldNames(v)))
	}
}

func (d *decoder) secretFile(p pair, field reflect.Value, key string) {
	var path string
	d.decode(p.value, reflect.ValueOf(&path).Elem(), key, 0)
	if path == "" {
		d.fail(p.at, key, "names no file")
		return
	}
	d.readSecret(path, field, key, p.at)
}

// readSecret puts the trimmed content of a file into field.
func (d *decoder) readSecret(path string, field reflect.Value, key string, at place) {
	defer func() {
		if d.wrong[key] {
			d.wrong[strings.TrimSuffix(key, "_file")] = true
		}
	}()
	(&checker{decoder: d}).exposed(key, path)
	data, err := textfile.Read(path, maxFile)
	if err != nil {
		d.fail(at, key, "cannot be read: %s", err)
		return
	}
	text, line, err := textfile.UTF8(data)
	if err != nil {
		d.fail(at, key, "%s:%d: %s", path, line, err)
		return
	}
	secret := strings.TrimSpace(string(text))
	switch {
	case secret == "":
		d.fail(at, key, "%s is empty", path)
	case strings.ContainsAny(secret, "\r\n") && strings.TrimSuffix(key, "_file") != "store.key": // old keys stand below the new one
		d.fail(at, key, "%s has more than one line", path)
	default:
		field.SetString(secret)
	}
}

func isSecret(v reflect.Value) bool {
	return v.IsValid() && v.Type() == reflect.TypeFor[secret.Text]()
}

// fieldOf returns the field with that name in the YAML; invalid if none has it.
func fieldOf(v reflect.Value, name string) reflect.Value {
	if v.Kind() != reflect.Struct {
		return reflect.Value{}
	}
	for i := range v.NumField() {
		if tag := v.Type().Field(i).Tag.Get("yaml"); tag == name && tag != "-" {
			return v.Field(i)
		}
	}
	return reflect.Value{}
}

// fieldNames lists the keys of a struct.
func fieldNames(v reflect.Value) (names []string) {
	for i := range v.NumField() {
		if tag := v.Type().Field(i).Tag.Get("yaml"); tag != "" && tag != "-" {
			names = append(names, tag)
		}
	}
	return names
}

// readable reports why a file can't be read; nil if it can.
func readable(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return f.Close()
}
