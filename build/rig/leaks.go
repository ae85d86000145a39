package rig

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"scanrelay/wechat/fake"
)

// forbidden is what must not stand in any log or stored file, with a word for it that can be
// printed. A session id, say, may hold eleven digits in a row, so a phone must
// stand by itself.
var forbidden = []struct {
	what string
	is   func(text string) bool
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

// checkLeaks searches what agent and centre printed, and each file that they stored,
// for phones, names, addresses, secrets and tokens.
func (s *Site) checkLeaks() {
	for _, r := range []*Role{s.Agent, s.Central} {
		for i, line := range strings.Split(r.Log(), "\n") {
			for _, what := range leaks(line) {
				s.t.Errorf("line %d of %s's log holds %s", i+1, r.Name, what)
			}
			if strings.Contains(line, "DATA RACE") {
				s.t.Errorf("line %d of %s's log tells of a data race", i+1, r.Name)
			}
		}
	}
	for _, dir := range []string{s.AgentData, s.CentralData} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			b, err := os.ReadFile(path)
			for _, what := range leaks(string(b)) {
				s.t.Errorf("%s holds %s", path, what)
			}
			return err
		})
		if err != nil {
			s.t.Errorf("search what is stored: %v", err)
		}
	}
}

// leaks names what of the forbidden a text holds.
func leaks(text string) (found []string) {
	for _, f := range forbidden {
		if f.is(text) {
			found = append(found, f.what)
		}
	}
	return found
}
