package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Place is where a file was opened, and how it was found there last.
type Place struct {
	Path string
	seen fs.FileInfo
}

// Look tells that the file is no longer there, or another one is: what is written
// to it then nobody finds again. Where nothing can be seen nothing is told.
func (p *Place) Look() error {
	now, err := os.Stat(p.Path)
	switch name := filepath.Base(p.Path); {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s was taken away while it was in use", name)
	case err != nil:
		return nil
	case p.seen != nil && !os.SameFile(p.seen, now):
		return fmt.Errorf("%s was replaced while it was in use: stop the centre before a backup is put back", name)
	}
	p.seen = now
	return nil
}
