package configs

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"scanrelay/configs/nearest"
	"scanrelay/configs/textfile"
)

// envPrefix begins the environment variables that override keys.
const envPrefix = "SCANRELAY_"

// envKey is one key that the environment may set.
type envKey struct {
	name  string // of the variable
	key   string // dotted
	value reflect.Value
	file  bool // the value is the path of a secret's file
}

// envKeys lists the keys of a struct, those that hold others before these.
func envKeys(v reflect.Value, key string) (out []envKey) {
	for _, name := range fieldNames(v) {
		at, field := join(key, name), fieldOf(v, name)
		out = append(out, envKey{envName(at), at, field, false})
		if isSecret(field) {
			out = append(out, envKey{envName(at + "_file"), at + "_file", field, true})
		}
		if field.Kind() == reflect.Struct && scalarParser(field) == nil {
			out = append(out, envKeys(field, at)...)
		}
	}
	return out
}

func envName(key string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// override applies the environment; of several variables those of outer keys
// come first. A variable of an unknown key is a warning.
func (d *decoder) override(v reflect.Value, environ []string) {
	given := map[string]string{}
	for _, entry := range environ {
		if name, text, ok := strings.Cut(entry, "="); ok && strings.HasPrefix(name, envPrefix) {
			given[name] = text
		}
	}
	var known []string
	for _, k := range envKeys(v, "") {
		known = append(known, k.name)
		if text, ok := given[k.name]; ok {
			d.overrideOne(k, text)
			delete(given, k.name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		d.found = append(d.found, Problem{File: "environment", Key: name, Warning: true,
			Text: "is ignored: " + nearest.Unknown("variable", name, known)})
	}
}

// overrideOne takes a variable as a value in the file would be; where only an
// empty text could be meant, it is as if it were not set.
func (d *decoder) overrideOne(k envKey, text string) {
	set := scalarParser(k.value)
	if text == "" && (k.file || set != nil && k.value.Kind() != reflect.String) {
		return
	}
	p := place{file: "environment " + k.name, secret: k.file}
	d.places[k.key] = p
	if _, _, err := textfile.UTF8([]byte(text)); err != nil {
		d.fail(p, k.key, "%s", err)
		return
	}
	inner := &decoder{file: p.file, places: d.places, wrong: d.wrong, fixed: &p}
	switch {
	case k.file:
		inner.readSecret(text, k.value, k.key, p)
	case set != nil:
		if err := set(text); err != nil {
			inner.fail(p, k.key, "%s", err)
		}
	default:
		if body, _, err := parseYAML([]byte(text)); err != nil {
			inner.fail(p, k.key, "%s", err)
		} else if body != nil {
			inner.decode(body, k.value, k.key, 0)
		}
	}
	d.found = append(d.found, inner.found...)
}

// bothGiven reports secrets that are given by value and by file, in one place.
func (d *decoder) bothGiven() {
	for _, key := range slices.Sorted(maps.Keys(d.places)) {
		base := strings.TrimSuffix(key, "_file")
		a, given := d.places[base]
		b := d.places[key]
		switch {
		case !b.secret || !given:
		case fromEnv(a) && fromEnv(b) && a.file != b.file:
			d.fail(b, key, "is set together with %s; keep one of the two", envName(base))
		case a.file == b.file:
			d.fail(b, key, "is given together with %s; keep one of the two", base[strings.LastIndex(base, ".")+1:])
		}
	}
}

func fromEnv(p place) bool { return strings.HasPrefix(p.file, "environment ") }
