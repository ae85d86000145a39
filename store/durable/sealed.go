package durable

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

func checksum(body []byte) uint32 { return crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)) }

// Unreadable ends the name under which a sealed file is kept that cannot be used.
const Unreadable = ".unreadable"

// Sealed is a small file: a line with its title, version and checksum, then JSON.
type Sealed struct {
	Path, Title string
	Version     int
	Mode        fs.FileMode // whatever the umask; 0: 0600
}

// Write replaces the file's content by v.
func (s Sealed) Write(v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", s.Title, err)
	}
	content := append(fmt.Appendf(nil, "%s %d %08x\n", s.Title, s.Version, checksum(body)), body...)
	return Build(s.Path, func(temp string) error {
		err := WriteFile(temp, content)
		if err == nil && s.Mode != 0 {
			err = os.Chmod(temp, s.Mode)
		}
		return err
	})
}

// Read fills v with the content, of this version or an older one. A file that is not
// there is fs.ErrNotExist; one that cannot be used is kept aside.
func (s Sealed) Read(v any) error {
	err := s.Peek(v)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if bad := os.Rename(s.Path, s.Path+Unreadable); bad != nil {
		return errors.Join(err, bad)
	}
	return fmt.Errorf("%w; it is kept as %s", err, filepath.Base(s.Path)+Unreadable)
}

// Peek is Read for who only looks: the file stays where it is.
func (s Sealed) Peek(v any) error {
	content, err := ReadFile(s.Path)
	if err != nil {
		return fmt.Errorf("read %s: %w", s.Title, err)
	}
	return s.Decode(content, v)
}

// Decode fills v with what is the file's content.
func (s Sealed) Decode(content []byte, v any) error {
	head, body, _ := bytes.Cut(content, []byte("\n"))
	rest, ok := strings.CutPrefix(string(head), s.Title+" ")
	var has int
	var sum uint32
	if _, err := fmt.Sscanf(rest, "%d %x", &has, &sum); err != nil || !ok {
		return fmt.Errorf("its first line: %w", ErrDamaged)
	}
	if has > s.Version {
		return fmt.Errorf("%w (version %d, this one knows %d)", ErrNewer, has, s.Version)
	}
	if sum != checksum(body) {
		return fmt.Errorf("its checksum: %w", ErrDamaged)
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return nil
}
