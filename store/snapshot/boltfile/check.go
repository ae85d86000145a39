package boltfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"scanrelay/store/boltpage"
	"scanrelay/store/durable"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/values"
)

// Report is what a check found of what is sound.
type Report struct {
	Waybills, Records int
	Aside             []string // files that were mended, as they were before

	last     uint64            // number of the last record in the log
	metas    map[string]Fields // of each file
	unopened values.Unopened
}

// CheckFolder reads everything in a folder that no centre uses, page by page and value
// by value, and tells what is damaged. It changes nothing.
func CheckFolder(dir string, tell func(what string)) (r Report, err error) {
	lock, err := lockStore(dir)
	if err != nil {
		return r, err
	}
	if lock != nil {
		defer lock.Release()
	}
	found, err := ReadKeys(dir)
	if err != nil {
		return r, err
	}
	r.metas, r.unopened.Has = map[string]Fields{}, found.has
	for _, name := range []string{WaybillsName, LogName} {
		if there, err := Present(dir, name); err != nil {
			return r, err
		} else if !there {
			tell(Missing[name])
			continue
		}
		if err := r.check(dir, name, tell); err != nil {
			return r, fmt.Errorf("read %s: %w", name, err)
		}
	}
	r.unopened.Tell(tell)
	log, waybills := r.metas[LogName], r.metas[WaybillsName]
	last := max(r.last, log.Number(MetaTruncated))
	if decodeLives(log.Get(metaLives)).Apart(decodeLives(waybills.Get(metaLives)), min(last, waybills.Number(MetaMerged))) {
		tell(fmt.Sprintf("%s and %s are of two copies of one store that went on apart: a start puts them together, and depots send again", WaybillsName, LogName))
	}
	aside, err := durable.Aside(dir, "")
	for _, path := range aside {
		r.Aside = append(r.Aside, filepath.Base(path))
	}
	return r, err
}

// Missing is what to say where one of the files is.
var Missing = map[string]string{
	WaybillsName: WaybillsName + " is missing beside " + LogName + ": a start is refused; put back both from one backup",
	LogName:      LogName + " is missing: what was not merged is lost; a start begins another, depots send theirs again, import waybill data again",
}

// lockStore takes a folder in which there is a store, or a file of one.
func lockStore(dir string) (*durable.Lock, error) {
	log, err := Present(dir, LogName)
	if err != nil {
		return nil, err
	}
	if waybills, err := Present(dir, WaybillsName); err != nil {
		return nil, err
	} else if !log && !waybills {
		_, err := boltpage.Open(filepath.Join(dir, WaybillsName)) // says which
		return nil, err
	}
	return LockFolder(dir)
}

func (r *Report) check(dir, name string, tell func(what string)) error {
	f, err := boltpage.Open(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := CheckMeta(f, name); errors.Is(err, durable.ErrDamaged) {
		tell(fmt.Sprintf("%s: %v", name, err))
	} else if err != nil {
		return err
	}
	if r.metas[name], err = ReadMeta(f); err != nil {
		delete(r.metas, name) // the survey tells of it
	}
	holes, err := Survey(f, name, func(bucket string, k, v []byte) error {
		r.unopened.Add(bucket, v)
		switch bucket {
		case string(Waybills):
			r.Waybills++
		case string(Log):
			r.Records++
			r.last = binary.BigEndian.Uint64(k)
		}
		return nil
	})
	for _, h := range holes {
		tell(fmt.Sprintf("%s: %v", name, h))
	}
	return err
}

// LockFolder takes the folder for this process. It returns nil where the file system
// is read only and has no lock: nobody can write there, and a copy has none.
func LockFolder(dir string) (*durable.Lock, error) {
	l, err := durable.LockExclusive(filepath.Join(dir, LockName))
	switch {
	case errors.Is(err, durable.ErrInUse):
		return nil, fmt.Errorf("%s: %w", dir, snapshot.ErrInUse)
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	}
	return l, err
}

// Present tells whether a folder has a file.
func Present(dir, name string) (bool, error) {
	_, err := os.Stat(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
