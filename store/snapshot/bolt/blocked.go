package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"scanrelay/store/boltpage"
	"scanrelay/store/snapshot/boltfile"
)

// refused reports whether an error says that a file took nothing, so that all is
// as it was and may be tried again: there is no room, or the file system is read
// only. Only a write or a change of size tells that; a failed sync never does.
func refused(err error) bool {
	var path *fs.PathError
	return boltpage.Retryable(err) || errors.Is(err, errReadOnly) ||
		errors.As(err, &path) && path.Op == "write" && errors.Is(path.Err, syscall.EROFS) ||
		err != nil && strings.Contains(err.Error(), "file resize error") // bbolt's ftruncate, whose cause it hides
}

// errReadOnly: a file was opened for reading only, as its file system is read only.
var errReadOnly = errors.New("its file system is read only: make it writable, all goes on then")

// reopenLog opens the log for writing where it could only be read so far. Only the
// committer calls it once the store is open.
func (s *Store) reopenLog() error {
	if !s.readOnly.Load() {
		return nil
	}
	if err := s.log.place.Look(); err != nil {
		return s.fail(err)
	}
	next, err := s.openAnew(logName, s.log)
	if err != nil {
		return err
	}
	s.readOnly.Store(false)
	return s.useLog(next).close()
}

// reopenWaybills does the same with waybills.db. The caller holds mergeMu.
func (s *Store) reopenWaybills() error {
	if !s.file.db.IsReadOnly() {
		return nil
	}
	next, err := s.openAnew(waybillsName, s.file)
	if err != nil {
		return err
	}
	return s.replace(next).close() // no page is written while the old file is still read
}

// openAnew opens for writing what could only be read so far, unless somebody wrote to
// it meanwhile: where there was no lock to take, another process may have.
func (s *Store) openAnew(name string, was *file) (*file, error) {
	s.lockMu.Lock()
	var err error
	if s.lock == nil {
		s.lock, err = boltfile.LockFolder(s.dir)
	}
	s.lockMu.Unlock()
	if err != nil {
		return nil, s.fail(err)
	}
	next, err := openPaged(s.dir, name)
	switch {
	case err != nil:
		return nil, s.fail(err)
	case next.db.IsReadOnly():
		return nil, errors.Join(fmt.Errorf("open %s: %w", name, errReadOnly), next.close())
	case next.head != was.head:
		return nil, errors.Join(s.fail(fmt.Errorf("%s was written to by another process", name)), next.close())
	}
	return next, nil
}

// replace puts another waybills.db in the place of the open one, which it returns.
func (s *Store) replace(next *file) (old *file) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, s.file = s.file, next
	return old
}

// block notes why nothing can be written now; nil: something was. Each is told
// once.
func (s *Store) block(err error) {
	why := ""
	if err != nil {
		why = err.Error()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case why != "" && s.blocked == "":
		s.o.Logger.Error("nothing can be written: depots are told to come again, lookups go on", "error", why)
	case why == "" && s.blocked != "":
		s.o.Logger.Info("writing goes on")
	}
	s.blocked = why
}
