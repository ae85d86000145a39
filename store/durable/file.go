package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Sentinels that callers branch on.
var (
	// ErrDamaged: what is on disk is not what was written.
	ErrDamaged = errors.New("record is damaged")
	// ErrNewer: a file was written by a newer scanrelay.
	ErrNewer = errors.New("written by a newer scanrelay")
	// ErrInUse: another process holds the data folder.
	ErrInUse = errors.New("data folder is in use")
)

// Ends of the names of files that hold nothing acknowledged, and of those that
// were found damaged.
const (
	TempSuffix  = ".tmp"
	AsideSuffix = ".damaged"
)

// Create makes a file with its content, mode 0600, durable when it returns.
func Create(path string, content []byte) error {
	return publish(path, WriteFile(path+TempSuffix, content))
}

// WriteFile writes a file anew, mode 0600; it is not durable yet.
func WriteFile(path string, content []byte) error {
	f, err := Open(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}

// Build makes a file that build makes under a temporary name: a power cut leaves
// either none or a whole one. It is durable when this returns.
func Build(path string, build func(temp string) error) error {
	temp := path + TempSuffix
	err := os.Remove(temp)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = build(temp)
	}
	return publish(path, err)
}

// publish syncs a file and gives it its name, unless making it failed.
func publish(path string, err error) error {
	temp := path + TempSuffix
	if err == nil {
		err = Sync(temp)
	}
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		_ = os.Remove(temp) // the first error counts; RemoveTemps looks again
		return fmt.Errorf("create %s: %w", filepath.Base(path), err)
	}
	return SyncDir(filepath.Dir(path))
}

// Sync makes a file's content durable.
func Sync(path string) error {
	f, err := Open(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// SyncDir makes creations, renames and removals in dir durable; bbolt never
// does that. Its error wraps none: the renaming has happened, so
// not even ENOSPC may pass for a lack of room after which all is as before.
func SyncDir(dir string) error {
	d, err := Open(dir, os.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync folder: %v", err)
	}
	return nil
}

// Exists reports whether there is something under the path.
func Exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Destroy overwrites a file in place before it removes it.
func Destroy(path string) error {
	f, err := Open(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		_, err = f.WriteAt(make([]byte, info.Size()), 0)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Remove(path)
	}
	if err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// AsideName returns the name that a damaged file gets beside its own: the next one
// that no other file has.
func AsideName(path string) (name string) {
	for i := 1; ; i++ {
		aside := path + AsideSuffix
		if i > 1 {
			aside = fmt.Sprintf("%s-%d", aside, i)
		}
		if _, err := os.Stat(aside); err != nil || same(path, aside) {
			return filepath.Base(aside)
		}
	}
}

func same(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}

// SetAside gives a damaged file that second name, so that a crash before its
// first one is taken leaves all as it was.
func SetAside(path, name string) error {
	aside := filepath.Join(filepath.Dir(path), name)
	if same(path, aside) {
		return nil
	}
	return os.Link(path, aside)
}

// Aside lists the paths of the damaged files in dir, and of one file if name is
// not "".
func Aside(dir, name string) ([]string, error) {
	return Glob(dir, name+"*"+AsideSuffix+"*")
}

// FolderSuffix ends the name of a folder that stood where a file belongs.
const FolderSuffix = ".folder"

// FoldersAside gives folders in dir that have a file's name another one: such a folder
// holds nothing of ours, and no file can be written while it is there. It returns their
// new names.
func FoldersAside(dir string, ours func(name string) bool) (moved []string, err error) {
	entries, err := ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !e.IsDir() || !ours(e.Name()) || strings.Contains(e.Name(), FolderSuffix) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		aside := path + FolderSuffix
		for i := 2; Exists(aside); i++ {
			aside = fmt.Sprintf("%s%s-%d", path, FolderSuffix, i)
		}
		if err := os.Rename(path, aside); err != nil {
			return moved, fmt.Errorf("move a folder that stands where a file belongs: %w", err)
		}
		moved = append(moved, filepath.Base(aside))
	}
	return moved, nil
}

// RemoveTemps deletes what an interrupted creation left: a file under its
// temporary name never held anything acknowledged.
func RemoveTemps(dir string) error {
	temps, err := Glob(dir, "*"+TempSuffix)
	if err != nil {
		return fmt.Errorf("list temporary files: %w", err)
	}
	for _, t := range temps {
		if info, err := os.Lstat(t); err == nil && info.IsDir() {
			continue // none of ours
		}
		if err := os.Remove(t); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove temporary file: %w", err)
		}
	}
	return nil
}

// Allocate reserves a file's blocks, so that no other writer can take them. File
// systems without fallocate go without.
func Allocate(f *os.File, from, size int64) error {
	err := unix.Fallocate(int(f.Fd()), 0, from, size)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) {
		return nil
	}
	return err
}

// NoSpace reports whether an error says that the file system is full, or that no
// file may be so long.
func NoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}

// Free is what a folder's file system has left, in bytes; where it does not tell,
// plenty.
func Free(dir string) int64 {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 1 << 62
	}
	return int64(fs.Bavail) * int64(fs.Bsize)
}

// Unreserved is how many of the first bytes of a file have no blocks yet: another
// program can take them.
func Unreserved(path string, size int64) int64 {
	if !Exists(path) {
		return 0
	}
	return max(0, size-OnDisk(path))
}

// OnDisk is how much of the disk a file takes; 0: it cannot be asked.
func OnDisk(path string) int64 {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0
	}
	return st.Blocks * 512
}

// Size is how large a file is; 0: it cannot be asked.
func Size(path string) int64 {
	if info, err := os.Stat(path); err == nil {
		return info.Size()
	}
	return 0
}
