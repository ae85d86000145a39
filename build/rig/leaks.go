package rig

import (
	"regexp"
	"strings"

	"scanrelay/wechat/fake"
)

// forbidden is what must not stand in any log, with a word for it that can be
// printed. A session id, say, may hold eleven digits in a row, so a phone must
// stand by itself.
var forbidden = []struct {
	what string
	is   func(line string) bool
}{
	{"a phone number", regexp.MustCompile(`(^|[^0-9A-Za-z])1[3-9][0-9]{9}([^0-9A-Za-z]|$)`).MatchString},
	{"a person's name", contains(nameMark)},
	{"a courier's name", contains(courierMark)},
	{"an address", contains(addressMark)},
	{"the AppSecret", contains(fake.DefaultSecret)},
	{"the callback's token", contains(fake.DefaultToken)},
	{"the EncodingAESKey", contains(fake.DefaultAESKey)},
	{"the depot's credential", contains(DepotToken)},
	{"the other depot's credential", contains(OtherToken)},
	{"the admin's credential", contains(AdminToken)},
	{"an access_token", regexp.MustCompile(`98_[A-Za-z0-9_-]{20,}`).MatchString},
}

func contains(text string) func(string) bool {
	return func(line string) bool { return strings.Contains(line, text) }
}

// leaks names what of the forbidden a line holds.
func leaks(line string) (found []string) {
	for _, f := range forbidden {
		if f.is(line) {
			found = append(found, f.what)
		}
	}
	return found
}
