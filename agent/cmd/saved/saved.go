package saved

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// IndexName is the file of a folder that has a line of JSON for each message, a [Message].
const IndexName = "messages.jsonl"

// MaxPayload is the largest payload that is read, in bytes.
const MaxPayload = 4 << 20

// Message is what is known of a message beside its bytes.
type Message struct {
	File       string    `json:"file"` // in the same folder
	Topic      string    `json:"topic"`
	ReceivedAt time.Time `json:"received_at"`
	DUP        bool      `json:"dup,omitempty"`
	Retained   bool      `json:"retained,omitempty"`
	Size       int64     `json:"size,omitempty"` // of the whole, where only its beginning came
}

// Folder is a folder that is written to.
type Folder struct {
	dir   string
	index *os.File
	n     int
}

// Create opens a folder, which it makes if it is missing. What is there stays.
func Create(dir string) (*Folder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make a folder for messages: %w", err)
	}
	n := 0
	whole, err := each(dir, func(Message) error { n++; return nil })
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, IndexName), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("save messages: %w", err)
	}
	if err := f.Truncate(whole); err != nil {
		return nil, errors.Join(fmt.Errorf("save messages: %w", err), f.Close())
	}
	return &Folder{dir, f, n}, nil
}

// Put writes a message, whose File it names.
func (f *Folder) Put(m Message, payload []byte) error {
	out, err := (*os.File)(nil), fs.ErrExist
	for errors.Is(err, fs.ErrExist) { // a run that was killed left one that is not in the index
		f.n++
		m.File = fmt.Sprintf("%06d.payload", f.n)
		out, err = os.OpenFile(filepath.Join(f.dir, m.File), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	}
	if err != nil {
		return fmt.Errorf("save a message: %w", err)
	}
	_, err = out.Write(payload)
	line, bad := json.Marshal(m)
	if err = errors.Join(err, out.Close(), bad); err == nil {
		_, err = f.index.Write(append(line, '\n'))
	}
	if err != nil {
		return fmt.Errorf("save a message: %w", err)
	}
	return nil
}

// Close ends the writing.
func (f *Folder) Close() error { return f.index.Close() }

// Read calls fn for each message of a folder, in the order in which they came. With a
// topic every file of the folder is a message on it, by name, and no index is needed.
func Read(dir, topic string, fn func(m Message, payload []byte) error) error {
	one := func(m Message) error {
		if err := regular(filepath.Join(dir, m.File)); err != nil {
			return err
		}
		payload, err := File(filepath.Join(dir, m.File))
		if err != nil {
			return err
		}
		return fn(m, payload)
	}
	if topic == "" {
		if _, err := os.Stat(filepath.Join(dir, IndexName)); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("read saved messages: %s has no %s, as listen --save writes it; --topic TOPIC tells on which topic its files come", dir, IndexName)
		}
		_, err := each(dir, one)
		return err
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("read saved messages: %w", err)
	}
	for _, f := range files {
		if f.Type().IsRegular() && f.Name() != IndexName {
			if err := one(Message{File: f.Name(), Topic: topic}); err != nil {
				return err
			}
		}
	}
	return nil
}

// regular tells that something is no file: from a pipe a read might wait for ever.
func regular(path string) error {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file", path)
	}
	if err != nil {
		return fmt.Errorf("read saved messages: %w", err)
	}
	return nil
}

// each calls fn for each line of a folder's index, and returns where the last whole one
// ends: behind it a power cut may have left a piece.
func each(dir string, fn func(Message) error) (whole int64, err error) {
	path := filepath.Join(dir, IndexName)
	if err := regular(path); err != nil {
		return 0, err
	}
	f, err := os.Open(path)
	if err != nil {
		return 0, fmt.Errorf("read saved messages: %w", err)
	}
	defer f.Close()
	lines := bufio.NewReaderSize(f, 1<<20) // a topic has 64 KiB at most
	for n := 1; ; n++ {
		line, err := lines.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF):
			return whole, nil
		case err != nil:
			return 0, fmt.Errorf("%s:%d: %w", path, n, err)
		}
		var m Message
		if err := json.Unmarshal(line, &m); err != nil {
			return 0, fmt.Errorf("%s:%d: %w", path, n, err)
		}
		if filepath.Base(m.File) != m.File || m.File == ".." || m.File == "." {
			return 0, fmt.Errorf("%s:%d: file %q is no file of this folder", path, n, m.File)
		}
		if err := fn(m); err != nil {
			return 0, err
		}
		whole += int64(len(line))
	}
}

// File reads a file with one message.
func File(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read a message: %w", err)
	}
	defer f.Close()
	return From(f)
}

// From reads one message.
func From(in io.Reader) ([]byte, error) {
	payload, err := io.ReadAll(io.LimitReader(in, MaxPayload+1))
	if err == nil && len(payload) > MaxPayload {
		err = fmt.Errorf("it is larger than %d MiB", MaxPayload>>20)
	}
	if err != nil {
		return nil, fmt.Errorf("read a message: %w", err)
	}
	return payload, nil
}
