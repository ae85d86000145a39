package bolt

import (
	"fmt"
	"path/filepath"

	"scanrelay/store/boltpage"
	"scanrelay/store/durable"
	"scanrelay/store/snapshot/boltfile"
)

// Report is what a check found of what is sound.
type Report struct {
	Waybills, Records int
	Aside             []string // files that were mended, as they were before
}

// Check reads everything in a folder that no centre uses, page by page and value
// by value, and tells what is damaged. It changes nothing.
func Check(dir string, tell func(what string)) (r Report, err error) {
	lock, err := lockStore(dir)
	if err != nil {
		return r, err
	}
	if lock != nil {
		defer lock.Release()
	}
	for _, name := range []string{waybillsName, logName} {
		if err := r.check(dir, name, tell); err != nil {
			return r, fmt.Errorf("read %s: %w", name, err)
		}
	}
	aside, err := durable.Aside(dir, "")
	for _, path := range aside {
		r.Aside = append(r.Aside, filepath.Base(path))
	}
	return r, err
}

// lockStore takes a folder in which there is a store.
func lockStore(dir string) (*durable.Lock, error) {
	for _, name := range []string{waybillsName, logName} {
		if there, err := present(dir, name); err != nil || !there {
			_, err = boltpage.Open(filepath.Join(dir, name)) // says which
			return nil, err
		}
	}
	return lockFolder(dir)
}

func (r *Report) check(dir, name string, tell func(what string)) error {
	f, err := boltpage.Open(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := boltfile.CheckMeta(f, name); isDamage(err) {
		tell(fmt.Sprintf("%s: %v", name, err))
	} else if err != nil {
		return err
	}
	holes, err := boltfile.Survey(f, name, func(bucket string, _, _ []byte) error {
		switch bucket {
		case string(bucketWaybills):
			r.Waybills++
		case string(bucketLog):
			r.Records++
		}
		return nil
	})
	for _, h := range holes {
		tell(fmt.Sprintf("%s: %v", name, h))
	}
	return err
}
