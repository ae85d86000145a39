package agent

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"scanrelay/agent/intake/sparkplug"
	"scanrelay/store/durable"
)

// BirthsName is the file in data_dir that remembers what Sparkplug's birth
// messages said. It is a convenience and no promise: without it edge nodes are
// asked for a rebirth.
const BirthsName = "births.json"

// birthsEvery is how often changed births are written at most. A node that flaps may
// be met between its own birth and those of its devices each time.
const birthsEvery = 10 * time.Second

// BirthsFile is that file in a data_dir: births by their source.
func BirthsFile(dataDir string) durable.Sealed {
	return durable.Sealed{Path: filepath.Join(dataDir, BirthsName), Title: "scanrelay sparkplug births", Version: 1}
}

// loadBirths reads the file. One that cannot be read is kept aside, and is as none.
func (a *Agent) loadBirths() *sparkplug.Births {
	var saved map[string]sparkplug.Birth
	if err := BirthsFile(a.cfg.DataDir).Read(&saved); err != nil && !errors.Is(err, fs.ErrNotExist) {
		saved = nil
		a.log.Warn("sparkplug births cannot be read; edge nodes are asked for new ones", "file", BirthsName, "error", err)
	}
	return sparkplug.NewBirths(saved)
}

// keepBirths writes the file when births change, and a last time at the stop,
// after intake has ended.
func (a *Agent) keepBirths(ctx context.Context) error {
	tick := time.NewTicker(birthsEvery)
	defer tick.Stop()
	problem := ""
	for over := false; !over; {
		select {
		case <-ctx.Done():
			over = true
		case <-tick.C:
		}
		err := a.births.Save(BirthsFile(a.cfg.DataDir).Write)
		switch {
		case err == nil:
			problem = ""
		case err.Error() != problem:
			problem = err.Error()
			a.log.Warn("sparkplug births cannot be written; after a restart edge nodes are asked for new ones", "error", err)
		}
	}
	return nil
}
