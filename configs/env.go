package configs

import (
	"cmp"
	"reflect"
	"slices"
	"strings"

	"scanrelay/configs/nearest"
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
	keys := envKeys(v, "")
	byName := make(map[string]int, len(keys))
	for i, k := range keys {
		byName[k.name] = i
	}
	type setting struct {
		order      int
		name, text string
	}
	var settings []setting
	for _, entry := range environ {
		name, text, ok := strings.Cut(entry, "=")
		if !ok || !strings.HasPrefix(name, envPrefix) {
			continue
		}
		if i, known := byName[name]; known {
			settings = append(settings, setting{i, name, text})
			continue
		}
		names := make([]string, len(keys))
		for i, k := range keys {
			names[i] = k.name
		}
		d.found = append(d.found, Problem{File: "environment", Key: name, Warning: true,
			Text: "is ignored: " + nearest.Unknown("variable", name, names)})
	}
	slices.SortStableFunc(settings, func(a, b setting) int {
		return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.name, b.name))
	})
	for _, s := range settings {
		d.overrideOne(keys[s.order], s.text)
	}
	d.bothInEnv(keys)
}

func (d *decoder) overrideOne(k envKey, text string) {
	p := place{file: "environment " + k.name}
	d.places[k.key] = p
	if k.file {
		d.envSecretFile(k, text, p)
		return
	}
	if set := scalarParser(k.value); set != nil {
		if text == "" && k.value.Kind() != reflect.String {
			delete(d.places, k.key)
			return // as an empty value in the file
		}
		if err := set(text); err != nil {
			d.fail(p, k.key, "%s", err)
		}
		return
	}
	body, _, err := parseYAML([]byte(text))
	if err != nil {
		d.fail(p, k.key, "%s", err)
		return
	}
	if body == nil {
		return
	}
	inner := &decoder{file: p.file, places: d.places, wrong: d.wrong, fixed: &p}
	inner.decode(body, k.value, k.key, 0)
	d.found = append(d.found, inner.found...)
}

func (d *decoder) envSecretFile(k envKey, path string, p place) {
	if path == "" {
		delete(d.places, k.key)
		return
	}
	inner := &decoder{file: p.file, places: d.places, wrong: d.wrong, fixed: &p}
	inner.readSecret(path, k.value, k.key, p)
	d.found = append(d.found, inner.found...)
}

// bothInEnv reports secrets whose value and file are both in the environment.
func (d *decoder) bothInEnv(keys []envKey) {
	for _, k := range keys {
		if !k.file {
			continue
		}
		base := strings.TrimSuffix(k.key, "_file")
		a, b := d.places[base], d.places[k.key]
		if fromEnv(a) && fromEnv(b) {
			d.fail(b, k.key, "is set together with %s; keep one of the two", envName(base))
		}
	}
}

func fromEnv(p place) bool { return strings.HasPrefix(p.file, "environment ") }
