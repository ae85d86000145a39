package user

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strings"

	"scanrelay/agent/intake/topic"
	"scanrelay/configs/secret"
)

// User may log in at the embedded broker.
type User struct {
	Username string      `yaml:"username"`
	Password secret.Text `yaml:"password"`
	Publish  []string    `yaml:"publish"` // topic filters it may publish to; none: all
}

// Problem is one thing that is wrong with a list: Key is its path in the
// configuration, Text one line.
type Problem struct{ Key, Text string }

// Problems is all that is wrong.
type Problems []Problem

// Err joins them; nil if there are none.
func (ps Problems) Err() error {
	var all error
	for _, p := range ps {
		all = errors.Join(all, errors.New(p.Key+": "+p.Text))
	}
	return all
}

// List is all who may log in, by name. The zero List lets anybody do everything.
type List map[string]user

type user struct {
	password [sha256.Size]byte
	publish  []topic.Filter // none: all topics
}

// Compile looks at users.
func Compile(users []User) (l List, problems Problems) {
	l = make(List, len(users))
	for i, u := range users {
		bad := func(key, format string, args ...any) {
			problems = append(problems, Problem{fmt.Sprintf("mqtt.embedded.users[%d].%s", i, key), fmt.Sprintf(format, args...)})
		}
		if _, twice := l[u.Username]; u.Username == "" {
			bad("username", "is required")
		} else if twice {
			bad("username", "%q is given twice", u.Username)
		}
		if u.Password == "" {
			bad("password", "is required")
		}
		known := user{password: Sum([]byte(u.Password.Reveal()))}
		for k, text := range u.Publish {
			f, err := topic.Parse(text)
			if err != nil {
				bad(fmt.Sprintf("publish[%d]", k), "%s", err)
			}
			known.publish = append(known.publish, f)
		}
		l[u.Username] = known
	}
	return l, problems
}

// Sum is by what passwords are compared.
func Sum(password []byte) [sha256.Size]byte { return sha256.Sum256(password) }

// Has reports whether there is a user of this name.
func (l List) Has(name string) bool {
	_, known := l[name]
	return known
}

// Accepts reports whether a user has this password, in a time that tells nothing of
// it.
func (l List) Accepts(name string, sum [sha256.Size]byte) bool {
	u, known := l[name]
	return subtle.ConstantTimeCompare(sum[:], u.password[:]) == 1 && known
}

// MayPublish reports whether a user may publish to a topic.
func (l List) MayPublish(name, where string) bool {
	u, known := l[name]
	if len(l) == 0 || known && len(u.publish) == 0 {
		return true
	}
	levels := strings.Split(where, "/")
	return slices.ContainsFunc(u.publish, func(f topic.Filter) bool { return f.Match(levels) })
}
