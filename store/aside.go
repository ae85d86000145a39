package store

import (
	"path/filepath"
	"strings"

	"scanrelay/store/durable"
)

// forgetDamage ends the alarm once a person has taken away all that was set
// aside, unless there is damage that no start has looked at.
func (o *Outbox) forgetDamage() {
	aside, err := filepath.Glob(filepath.Join(o.dir, "*"+durable.AsideSuffix+"*"))
	if err == nil && len(aside) == 0 && !(o.readOnly && durable.Exists(filepath.Join(o.dir, unreadableName))) {
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
