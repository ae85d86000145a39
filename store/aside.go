package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// forgetDamage ends the alarm once a person has taken away all that was set
// aside, unless there is damage that no start has looked at.
func (o *Outbox) forgetDamage() {
	aside, err := filepath.Glob(filepath.Join(o.dir, "*"+asideSuffix+"*"))
	if err == nil && len(aside) == 0 && !(o.readOnly && fileExists(filepath.Join(o.dir, unreadableName))) {
		o.state.damage = ""
	}
}

// maxDamage bounds what is kept of what was found damaged, in bytes: it is in
// the state, which every commit writes.
const maxDamage = 400

func joinDamage(old string, news []string) string {
	if old != "" {
		news = append([]string{old}, news...)
	}
	all := strings.Join(news, "; ")
	if len(all) > maxDamage {
		all = "…" + strings.ToValidUTF8(all[len(all)-maxDamage:], "")
	}
	return all
}

// setFileAside gives a damaged file a second name, so that a crash before its
// first one is taken leaves all as it was.
func setFileAside(path string) (name string, err error) {
	for i := 1; ; i++ {
		aside := path + asideSuffix
		if i > 1 {
			aside = fmt.Sprintf("%s-%d", aside, i)
		}
		err := os.Link(path, aside)
		if errors.Is(err, fs.ErrExist) {
			a, _ := os.Stat(aside)
			b, _ := os.Stat(path)
			if a == nil || b == nil || !os.SameFile(a, b) {
				continue
			}
			err = nil
		}
		return filepath.Base(aside), err
	}
}
