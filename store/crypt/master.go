package crypt

import (
	"errors"
	"path/filepath"

	"scanrelay/store/durable"
	"scanrelay/store/masterkey"
)

// ErrKey: the store's key is not the one that its data was written under, or is
// not there. Nothing was changed.
var ErrKey = masterkey.ErrKey

// Names of the master key: a systemd credential, or else a file in the outbox's
// folder, made at the first start.
const (
	credentialName = "scanrelay-store-key"
	keyName        = "outbox.key"
)

type key = masterkey.Key

// masters are the candidates for the master key: those of the credential, then
// those of the key file.
type masters struct {
	keys       []key
	credential int // how many are the credential's
}

// masterKeys reads the credential and the key file, which has two copies. make:
// there is nothing to be lost yet, so a key is made where there is none.
func masterKeys(dir string, make bool) (m masters, err error) {
	path := filepath.Join(dir, keyName)
	credential := masterkey.Credential(credentialName)
	if credential != "" {
		if m.keys, err = masterkey.Read(credential, credentialName); err != nil {
			return m, err
		}
		m.credential = len(m.keys)
		if !durable.Exists(path) {
			return m, nil
		}
	} else if make && !durable.Exists(path) {
		if err := masterkey.Create(path); err != nil {
			return m, err
		}
	}
	file, err := masterkey.Read(path, credentialName)
	if credential != "" && errors.Is(err, ErrKey) {
		err = nil // it is not needed
	}
	m.keys = append(m.keys, file...)
	return m, err
}
