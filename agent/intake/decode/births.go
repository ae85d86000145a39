package decode

import (
	"strings"
	"sync"
)

// BirthMetric is what a birth message said of one metric.
type BirthMetric struct {
	Name     string `json:"name"`
	Datatype uint32 `json:"datatype,omitempty"`
}

// Birth is what a Sparkplug edge node or device said in its last birth message:
// its metrics by alias.
type Birth struct {
	Aliases map[uint64]BirthMetric `json:"aliases"`
}

// BirthOf reads the aliases of a birth message.
func BirthOf(p SparkplugPayload) Birth {
	b := Birth{Aliases: make(map[uint64]BirthMetric)}
	for _, m := range p.Metrics {
		if m.HasAlias && m.Name != "" {
			b.Aliases[m.Alias] = BirthMetric{m.Name, m.Datatype}
		}
	}
	return b
}

// Births remembers births by their source (group/node or group/node/device).
// Aliases mean nothing without them, so a store that survives restarts spares a
// rebirth. An implementation must be safe for concurrent use and must not block.
type Births interface {
	Birth(source string) (Birth, bool)
	SetBirth(source string, b Birth)
	// Forget drops the births of an edge node's devices: its own new birth
	// made them invalid.
	Forget(edgeNode string)
	// Missing tells that data of a source could not be read for want of its
	// birth: its edge node should be asked for a rebirth.
	Missing(source string)
}

// maxBirths bounds how many sources Memory remembers, and how many of those
// that miss a birth.
const maxBirths = 4096

// Memory is a Births in memory.
type Memory struct {
	mu      sync.Mutex
	births  map[string]Birth    // guarded by mu
	missing map[string]struct{} // guarded by mu
}

// NewMemory returns a Births that remembers these; nil is none.
func NewMemory(births map[string]Birth) *Memory {
	m := &Memory{births: make(map[string]Birth), missing: make(map[string]struct{})}
	for source, b := range births {
		m.births[source] = b
	}
	return m
}

// Birth implements Births.
func (m *Memory) Birth(source string) (Birth, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.births[source]
	return b, ok
}

// SetBirth implements Births. Beyond its bound it forgets another source,
// which then has to be asked for a rebirth.
func (m *Memory) SetBirth(source string, b Birth) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.births[source]; !known && len(m.births) >= maxBirths {
		for other := range m.births {
			delete(m.births, other)
			break
		}
	}
	m.births[source] = b
	delete(m.missing, source)
}

// Forget implements Births.
func (m *Memory) Forget(edgeNode string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for source := range m.births {
		if strings.HasPrefix(source, edgeNode+"/") {
			delete(m.births, source)
		}
	}
}

// Missing implements Births.
func (m *Memory) Missing(source string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.missing) < maxBirths {
		m.missing[source] = struct{}{}
	}
}

// Wanted lists the sources that miss a birth.
func (m *Memory) Wanted() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	sources := make([]string, 0, len(m.missing))
	for s := range m.missing {
		sources = append(sources, s)
	}
	return sources
}

// All returns a copy of what is remembered, to be written somewhere.
func (m *Memory) All() map[string]Birth {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make(map[string]Birth, len(m.births))
	for s, b := range m.births {
		all[s] = b
	}
	return all
}
