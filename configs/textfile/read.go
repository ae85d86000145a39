package textfile

import (
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// patience is how long a pipe may say nothing; tests shorten it.
var patience = 10 * time.Second

// Read reads a file of at most so many bytes. One that is a pipe must be written within
// patience: a start or a reload that waits for it would wait for ever.
func Read(path string, most int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // to open one waits for who writes
	if err != nil {
		return nil, err
	}
	defer f.Close()
	until := time.Now().Add(patience)
	_ = f.SetReadDeadline(until) // what is on disk knows none, and needs none
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	for err == nil && len(data) == 0 && isPipe(f) { // nobody writes it yet
		if time.Now().After(until) {
			return nil, fmt.Errorf("read %s: %w: nobody wrote to this pipe", path, os.ErrDeadlineExceeded)
		}
		time.Sleep(10 * time.Millisecond)
		data, err = io.ReadAll(io.LimitReader(f, most+1))
	}
	if err == nil && int64(len(data)) > most {
		err = &os.PathError{Op: "read", Path: path, Err: fmt.Errorf("it is larger than %d bytes", most)}
	}
	return data, err
}

func isPipe(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeNamedPipe != 0
}
