package fake

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// object reads a JSON object, or XML made like one, field by field: names count
// with their case, types are not converted. The first thing that is wrong is
// remembered.
type object struct {
	at     string // where it stands, for the records: "receiver."
	fields map[string]any
	isXML  bool // an empty list leaves nothing to see
	first  *string
}

// xmlText is what XML has for texts and numbers alike.
type xmlText string

func readObject(b []byte) (object, bool) {
	o := object{first: new(string)}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber() // digits stay as they came
	if !utf8.Valid(b) || d.Decode(&o.fields) != nil || o.fields == nil {
		return o, false
	}
	_, err := d.Token()
	return o, err == io.EOF
}

// wrong returns the first problem; "" if there is none.
func (o object) wrong() string { return *o.first }

func (o object) complain(key, what string) {
	if *o.first == "" {
		*o.first = o.at + key + " " + what
	}
}

// find returns a field that may not be missing.
func (o object) find(key string) (value any, ok bool) {
	if value, ok = o.fields[key]; !ok {
		o.complain(key, "is missing")
	}
	return value, ok
}

// text returns a string; "" if it is missing.
func (o object) text(key string) string {
	switch v := o.fields[key].(type) {
	case string:
		return v
	case xmlText:
		return string(v)
	}
	if _, ok := o.fields[key]; ok {
		o.complain(key, "is no string")
	}
	return ""
}

// must returns a string that may not be missing or empty.
func (o object) must(key string) string {
	v := o.text(key)
	if v == "" {
		o.complain(key, "is missing")
	}
	return v
}

// number returns a whole number that may not be missing.
func (o object) number(key string) int64 {
	var digits string
	switch v, _ := o.find(key); v := v.(type) {
	case json.Number:
		digits = v.String()
	case xmlText:
		digits = strings.TrimSpace(string(v))
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		o.complain(key, "is no whole number")
	}
	return n
}

// truth returns a boolean; false if it is missing.
func (o object) truth(key string) bool {
	v, isBool := o.fields[key].(bool)
	if _, ok := o.fields[key]; ok && !isBool {
		o.complain(key, "is no boolean")
	}
	return v
}

// object returns an object that may not be missing.
func (o object) object(key string) object {
	v, ok := o.find(key)
	return o.inner(key, v, ok)
}

// inner makes an object of a value, which complains where it is none.
func (o object) inner(key string, value any, want bool) object {
	fields, ok := value.(map[string]any)
	if want && !ok {
		o.complain(key, "is no object")
	}
	return object{at: o.at + key + ".", fields: fields, isXML: o.isXML, first: o.first}
}

// list returns the objects of an array that may not be missing. XML repeats
// them; its empty list is nothing at all, or one empty element.
func (o object) list(key string) []object {
	if text, isText := o.fields[key].(xmlText); o.isXML && (o.fields[key] == nil || isText && strings.TrimSpace(string(text)) == "") {
		return nil
	}
	value, found := o.find(key)
	items, ok := value.([]any)
	if found && !ok {
		o.complain(key, "is no array")
	}
	list := make([]object, len(items))
	for i, item := range items {
		list[i] = o.inner(fmt.Sprintf("%s[%d]", key, i), item, true)
	}
	return list
}
