package fake

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// object reads a JSON object field by field: names count with their case, types
// are not converted. The first thing that is wrong is remembered.
type object struct {
	at     string // where it stands, for the records: "receiver."
	fields map[string]json.RawMessage
	first  *string
}

func readObject(b []byte) (object, bool) {
	o := object{first: new(string)}
	if !utf8.Valid(b) || json.Unmarshal(b, &o.fields) != nil || o.fields == nil {
		return o, false
	}
	return o, true
}

// wrong returns the first problem; "" if there is none.
func (o object) wrong() string { return *o.first }

func (o object) complain(key, what string) {
	if *o.first == "" {
		*o.first = o.at + key + " " + what
	}
}

// text returns a string; "" if it is missing.
func (o object) text(key string) string {
	raw, ok := o.fields[key]
	if !ok {
		return ""
	}
	var v string
	if bytes.Equal(raw, []byte("null")) || json.Unmarshal(raw, &v) != nil {
		o.complain(key, "is no string")
	}
	return v
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
	raw, ok := o.fields[key]
	if !ok {
		o.complain(key, "is missing")
		return 0
	}
	v, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil {
		o.complain(key, "is no whole number")
	}
	return v
}

// truth returns a boolean; false if it is missing.
func (o object) truth(key string) bool {
	raw, ok := o.fields[key]
	var v bool
	if ok && (json.Unmarshal(raw, &v) != nil || raw[0] == 'n') {
		o.complain(key, "is no boolean")
	}
	return v
}

// object returns an object that may not be missing.
func (o object) object(key string) object {
	in := object{at: o.at + key + ".", first: o.first}
	if raw, ok := o.fields[key]; !ok {
		o.complain(key, "is missing")
	} else if json.Unmarshal(raw, &in.fields) != nil || in.fields == nil {
		o.complain(key, "is no object")
	}
	return in
}

// list returns the objects of an array that may not be missing.
func (o object) list(key string) []object {
	raw, ok := o.fields[key]
	if !ok {
		o.complain(key, "is missing")
		return nil
	}
	var items []json.RawMessage
	if json.Unmarshal(raw, &items) != nil || items == nil {
		o.complain(key, "is no array")
		return nil
	}
	list := make([]object, len(items))
	for i, item := range items {
		list[i] = object{at: fmt.Sprintf("%s%s[%d].", o.at, key, i), first: o.first}
		if json.Unmarshal(item, &list[i].fields) != nil || list[i].fields == nil {
			o.complain(fmt.Sprintf("%s[%d]", key, i), "is no object")
		}
	}
	return list
}
