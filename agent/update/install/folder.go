package install

import (
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// folder is one of another user's, who may change it at any moment: its files are
// opened beneath it, whatever its path leads to by then, and no link is followed.
type folder struct{ f *os.File }

func openFolder(path string) (*folder, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return &folder{os.NewFile(uintptr(fd), path)}, nil
}

// folder opens one within.
func (d *folder) folder(name string) (*folder, error) {
	f, err := d.open(name, unix.O_DIRECTORY)
	return &folder{f}, err
}

// file opens a regular file within, of at most so many bytes.
func (d *folder) file(name string, most int64) (*os.File, int64, error) {
	f, err := d.open(name, unix.O_NONBLOCK) // a pipe would be waited for
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case info.Mode().Type() != 0:
		err = fmt.Errorf("%s is no file", name)
	case info.Size() > most:
		err = fmt.Errorf("%s has %d bytes, more than %d", name, info.Size(), most)
	default:
		return f, info.Size(), nil
	}
	_ = f.Close() // nothing was read
	return nil, 0, err
}

func (d *folder) open(name string, flags int) (*os.File, error) {
	fd, err := unix.Openat(int(d.f.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|flags, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// read reads a file within, of at most so many bytes.
func (d *folder) read(name string, most int64) ([]byte, error) {
	f, _, err := d.file(name, most)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, most+1)) // it may have grown
	if err == nil && int64(len(content)) > most {
		err = fmt.Errorf("%s has more than %d bytes", name, most)
	}
	return content, err
}

// remove removes a file within; none is none.
func (d *folder) remove(name string) error {
	err := unix.Unlinkat(int(d.f.Fd()), name, 0)
	if err == unix.EISDIR || err == unix.EPERM {
		err = unix.Unlinkat(int(d.f.Fd()), name, unix.AT_REMOVEDIR)
	}
	if err != nil && err != unix.ENOENT {
		return &fs.PathError{Op: "remove", Path: name, Err: err}
	}
	return nil
}

func (d *folder) sync() error { return d.f.Sync() }

func (d *folder) close() { _ = d.f.Close() } // it was only read
