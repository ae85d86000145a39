package setup

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
)

// draft is a configuration whose secrets have files of their own.
type draft struct{ parts []part }

// part is some text, or a key with a secret.
type part struct {
	text              string
	key, name, secret string // name is its file's
}

// file is one that is to be written.
type file struct {
	path string
	text []byte
}

// add appends text.
func (d *draft) add(format string, args ...any) {
	d.parts = append(d.parts, part{text: fmt.Sprintf(format, args...)})
}

// secret appends a key with what stands before it, and its secret.
func (d *draft) secret(key, name, secret string) {
	d.parts = append(d.parts, part{key: key, name: name, secret: secret})
}

// whole is the configuration with all secrets in it, as it is checked.
func (d *draft) whole() []byte {
	return d.render(func(p part) string { return p.key + ": " + quoted(p.secret) })
}

// named is the configuration that names the secrets' files.
func (d *draft) named(folder string) []byte {
	return d.render(func(p part) string { return p.key + "_file: " + quoted(filepath.Join(folder, p.name)) })
}

func (d *draft) render(secret func(part) string) []byte {
	var b bytes.Buffer
	for _, p := range d.parts {
		if b.WriteString(p.text); p.key != "" {
			b.WriteString(secret(p) + "\n")
		}
	}
	return b.Bytes()
}

// secrets are the files that hold them.
func (d *draft) secrets(folder string) (files []file) {
	for _, p := range d.parts {
		if p.key != "" {
			files = append(files, file{filepath.Join(folder, p.name), []byte(p.secret + "\n")})
		}
	}
	return files
}

// quoted is a text as YAML takes it, which is JSON's way.
func quoted(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		panic(err) // a string is always JSON
	}
	return strings.TrimSpace(b.String())
}

// password makes one that can be typed into a scanner: 80 bits, no letter that looks
// like another.
func password() string { return strings.ToLower(rand.Text()[:16]) }
