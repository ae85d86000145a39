package source

import (
	"errors"
	"io/fs"
	"log/slog"
	"slices"

	"scanrelay/agent/intake/link"
	"scanrelay/store/durable"
)

// SessionsName is the file in data_dir that remembers where we have a session, over
// a restart of the agent: else nobody could tell a forgotten one from a first start.
const SessionsName = "mqtt-broker-sessions"

// place is where a session is.
type place struct {
	Broker   string `json:"broker"` // without password
	ClientID string `json:"client_id"`
}

// memory knows where we have a session; of the file's places only those that are
// configured now, which bounds it.
type memory struct {
	file   durable.Sealed // without a path there is none
	log    *slog.Logger
	places []place
	saved  bool
}

// remembered reads the file.
func remembered(cfg Config) memory {
	m := memory{file: durable.Sealed{Path: cfg.Sessions, Title: "scanrelay mqtt broker sessions", Version: 1}, log: cfg.Logger}
	if cfg.Sessions == "" {
		return m
	}
	err := m.file.Read(&m.places)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		m.log.Warn("it cannot be read which mqtt brokers have this agent's MQTT session: one that has forgotten it is not told from a first start",
			"file", SessionsName, "error", err)
	}
	m.places = slices.DeleteFunc(m.places, func(p place) bool {
		return p.ClientID != cfg.ClientID || !slices.ContainsFunc(cfg.Brokers, func(b string) bool { return link.Redacted(b) == p.Broker })
	})
	m.saved = err == nil
	return m
}

// add notes that there is a session now, and reports whether there was one before.
// What cannot be written is tried again with the next connection.
func (m *memory) add(p place) (known bool) {
	if known = slices.Contains(m.places, p); !known {
		m.places = append(m.places, p)
		m.saved = false
	}
	if m.saved || m.file.Path == "" {
		return known
	}
	err := m.file.Write(m.places)
	if err != nil {
		m.log.Warn("it cannot be written which mqtt brokers have this agent's MQTT session: after a restart one that has forgotten it is not told", "file", SessionsName, "error", err)
	}
	m.saved = err == nil
	return known
}
