package waybills

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"

	"scanrelay/uplink/syncapi"
)

// The keys that are read, in lower case, as JSON takes them in any.
var (
	itemKeys  = keysOf(reflect.TypeFor[Item]())
	partyKeys = keysOf(reflect.TypeFor[syncapi.Party]())
)

func keysOf(t reflect.Type) map[string]bool {
	keys := map[string]bool{}
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			maps.Copy(keys, keysOf(f.Type))
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		keys[strings.ToLower(name)] = true
	}
	return keys
}

// Bounds of the keys that an answer names.
const (
	maxKeys = 20
	maxKey  = 64 // bytes
)

// unknown notes keys of a line that nobody reads: one that is misspelt would be
// missing without a word.
func (i *importer) unknown(raw []byte) {
	var item map[string]json.RawMessage
	_ = json.Unmarshal(raw, &item) // it was read before
	i.unknownIn("", raw, itemKeys)
	for key, value := range item {
		if k := strings.ToLower(key); k == "sender" || k == "receiver" {
			i.unknownIn(k+".", value, partyKeys)
		}
	}
}

func (i *importer) unknownIn(prefix string, raw []byte, known map[string]bool) {
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(raw, &fields)
	for key := range fields {
		name := prefix + key
		if known[strings.ToLower(key)] || len(i.out.UnknownKeys) == maxKeys || slices.Contains(i.out.UnknownKeys, name) {
			continue
		}
		if len(name) <= maxKey {
			i.out.UnknownKeys = append(i.out.UnknownKeys, name)
		}
	}
}
