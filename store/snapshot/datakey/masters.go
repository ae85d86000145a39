package datakey

import (
	"errors"
	"fmt"
	"path/filepath"

	"scanrelay/configs/secret"
	"scanrelay/store/durable"
	"scanrelay/store/masterkey"
)

// ErrKey: what is stored cannot be decrypted with the keys at hand. It is no damage:
// nothing may be mended or given up for it.
var ErrKey = masterkey.ErrKey

// Where a master key stands that is not given: a systemd credential, or else a file in
// data_dir.
const (
	Credential = "scanrelay-centre-key"
	FileName   = "centre.key"
)

// Masters returns the master keys, of which the first is the one to wrap with: those
// that are given, or the credential's, or those of the file in dir. Where dir is "" none
// is there. fresh: there is nothing that a key belongs to, so a file is made.
func Masters(given secret.Text, dir string, fresh bool) ([]masterkey.Key, error) {
	if given != "" {
		if keys := masterkey.Parse([]byte(given.Reveal())); len(keys) > 0 {
			return keys, nil
		}
		return nil, fmt.Errorf("%w: store.key is none, which is 64 hex digits", ErrKey)
	}
	if path := masterkey.Credential(Credential); path != "" {
		keys, err := masterkey.Read(path, Credential)
		if err != nil || dir == "" {
			return keys, err
		}
		file, err := masterkey.Read(filepath.Join(dir, FileName), Credential)
		if errors.Is(err, ErrKey) {
			err = nil // it is not needed
		}
		return append(keys, file...), err
	}
	if dir == "" {
		return nil, fmt.Errorf("%w: none is given: store.key_file names a file with 64 hex digits, the same for all processes, as openssl rand -hex 32 prints them; or give it as systemd credential %s", ErrKey, Credential)
	}
	path := filepath.Join(dir, FileName)
	if fresh && !durable.Exists(path) {
		if err := masterkey.Create(path); err != nil {
			return nil, err
		}
	}
	return masterkey.Read(path, Credential)
}

// MendFile makes a damaged copy of the key in the file in dir anew, if one opens all
// entries. It returns what to say of it; "": nothing.
func MendFile(dir string, entries []Entry) (what string) {
	if len(entries) == 0 {
		return ""
	}
	opens := func(k masterkey.Key) bool { return New().Load([]masterkey.Key{k}, entries) == nil }
	return masterkey.Mend(filepath.Join(dir, FileName), opens, false)
}
