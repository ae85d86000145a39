package sparkplug

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"scanrelay/agent/intake/decode"
	"scanrelay/configs/wait"
)

// BirthMetric is what a birth message said of one metric.
type BirthMetric struct {
	Name     string `json:"name"`
	Datatype uint32 `json:"datatype,omitempty"`
}

// Birth is what a Sparkplug edge node or device said in its last birth message:
// its metrics by alias, and the names of those that have none.
type Birth struct {
	Aliases map[uint64]BirthMetric `json:"aliases"`
	Bare    []string               `json:"bare,omitempty"`

	heard bool // by this process, not remembered from an earlier one
	size  int  // about what it takes in memory
}

// BirthOf reads the metrics of a birth message.
func BirthOf(p Payload) Birth {
	b := Birth{Aliases: make(map[uint64]BirthMetric)}
	for _, m := range p.Metrics {
		switch {
		case m.Name == "":
		case m.HasAlias:
			b.Aliases[m.Alias] = BirthMetric{m.Name, m.Datatype}
		default:
			b.Bare = append(b.Bare, m.Name)
		}
	}
	return b
}

// Names reports whether a pointer, as Find follows it, leads to one of its metrics:
// then a message that has nothing there brings no change of it.
func (b Birth) Names(p decode.Pointer) bool {
	name := strings.Join(p, "/")
	if len(p) > 1 && p[0] == "metrics" {
		name = strings.Join(p[1:], "/")
	}
	if slices.Contains(b.Bare, name) {
		return true
	}
	for _, m := range b.Aliases {
		if m.Name == name {
			return true
		}
	}
	return false
}

// askAgain is how long an edge node has to answer a request for its rebirth
// before it is asked again.
const askAgain = time.Minute

// Bounds of what is remembered: sources, and edge nodes; what births take in memory; and
// how many edge nodes are asked for a rebirth within a minute.
const (
	maxBirths     = 4096
	maxBirthBytes = 4 << 20
	maxAsked      = 1024
)

// Births remembers births by their source (group/node or group/node/device),
// and which edge nodes have to be asked for a new one: where a birth is missing,
// where messages are missing (a birth may be among them), and where the birth
// was remembered over a restart, during which there may have been another. It is
// safe for concurrent use.
type Births struct {
	mu      sync.Mutex
	births  map[string]Birth     // guarded by mu
	bytes   int                  // of all births; guarded by mu
	nodes   map[string]*edgeNode // by group/node; guarded by mu
	changed bool                 // perhaps, since the last Save; guarded by mu
	written []byte               // by the last Save that went well, or read at the start; guarded by mu
	gaps    uint64               // guarded by mu
	asked   uint64               // guarded by mu
	began   time.Time            // when the minute began of which lately is; guarded by mu
	lately  int                  // how many were asked in it; guarded by mu
	wanted  chan struct{}
}

// edgeNode is what is known of an edge node beside its births.
type edgeNode struct {
	seq     uint8
	counted bool      // seq is that of its last message
	wants   bool      // it is to be asked for a rebirth
	asked   time.Time // when it was last
}

// NewBirths returns a Births that remembers what Save handed out, by source; nil is
// nothing.
func NewBirths(saved map[string]Birth) *Births {
	b := &Births{births: make(map[string]Birth), nodes: make(map[string]*edgeNode), wanted: make(chan struct{}, 1)}
	for source, birth := range saved {
		b.put(source, birth)
	}
	if len(saved) > 0 {
		b.written, _ = json.Marshal(saved) // maps of strings and numbers: it does not fail
	}
	return b
}

// Save hands what is remembered to write, as JSON, if that is not what was written last:
// a node that is born again and again costs nothing.
func (b *Births) Save(write func(any) error) error {
	b.mu.Lock()
	if !b.changed {
		b.mu.Unlock()
		return nil
	}
	births, written := maps.Clone(b.births), b.written
	b.changed = false
	b.mu.Unlock()
	saved, err := json.Marshal(births) // intake does not wait for it: no birth changes once it is there
	if err == nil && !bytes.Equal(saved, written) {
		err = write(json.RawMessage(saved))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		b.changed = true
	} else {
		b.written = saved
	}
	return err
}

// Birth returns the last birth of a source.
func (b *Births) Birth(t Topic) (Birth, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	birth, ok := b.births[t.Source()]
	return birth, ok
}

// SetBirth remembers a birth. An edge node's own makes those of its devices
// invalid. Beyond the bound another source is forgotten.
func (b *Births) SetBirth(t Topic, birth Birth) {
	b.mu.Lock()
	defer b.mu.Unlock()
	source := t.Source()
	if t.Device == "" {
		for other := range b.births {
			if strings.HasPrefix(other, source+"/") {
				b.drop(other)
			}
		}
		b.node(t).wants = false
	}
	birth.heard = true
	b.put(source, birth)
	b.changed = true
}

// put remembers a birth. Beyond the bounds others are forgotten: any of too many, the
// largest of what takes too much. The caller holds mu.
func (b *Births) put(source string, birth Birth) {
	birth.size = 128 + len(source)
	for _, m := range birth.Aliases {
		birth.size += 64 + len(m.Name)
	}
	for _, name := range birth.Bare {
		birth.size += 32 + len(name)
	}
	b.drop(source)
	b.births[source] = birth
	b.bytes += birth.size
	for len(b.births) > 1 && (len(b.births) > maxBirths || b.bytes > maxBirthBytes) {
		out := ""
		for other, one := range b.births {
			if other != source && (out == "" || b.bytes > maxBirthBytes && one.size > b.births[out].size) {
				out = other
			}
		}
		b.drop(out)
	}
}

// drop forgets a birth. The caller holds mu.
func (b *Births) drop(source string) {
	b.bytes -= b.births[source].size
	delete(b.births, source)
}

// Read tells that data of a source was read with this birth, or with complete
// false that it could not be.
func (b *Births) Read(t Topic, birth Birth, complete bool) {
	if complete && (birth.heard || len(birth.Aliases) == 0) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.want(b.node(t))
}

// Sequence follows the sequence numbers of an edge node's messages, of which
// every kind but NDEATH has one; a birth of the node begins anew.
func (b *Births) Sequence(t Topic, seq uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.node(t)
	if n.counted && t.Type != "NBIRTH" && uint8(seq) != n.seq+1 {
		b.gaps++
		b.want(n)
	}
	n.seq, n.counted = uint8(seq), true
}

// node returns the topic's edge node. The caller holds mu.
func (b *Births) node(t Topic) *edgeNode {
	name := t.EdgeNode()
	n := b.nodes[name]
	if n == nil {
		if len(b.nodes) >= maxBirths {
			clear(b.nodes) // whoever invents so many is no edge node
		}
		n = &edgeNode{}
		b.nodes[name] = n
	}
	return n
}

// want notes that an edge node is to be asked. The caller holds mu.
func (b *Births) want(n *edgeNode) {
	n.wants = true
	wait.Signal(b.wanted)
}

// Wanted receives when an edge node may have to be asked.
func (b *Births) Wanted() <-chan struct{} { return b.wanted }

// Ask returns the edge nodes, as group/node, that are to be asked for a rebirth
// now; none is named again within a minute, and then only some of those that somebody
// invents.
func (b *Births) Ask(now time.Time) (nodes []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now.Sub(b.began).Abs() >= askAgain {
		b.began, b.lately = now, 0
	}
	for name, n := range b.nodes {
		if !n.wants || now.Sub(n.asked).Abs() < askAgain || b.lately >= maxAsked {
			continue
		}
		n.wants, n.asked = false, now
		b.asked++
		b.lately++
		nodes = append(nodes, name)
	}
	slices.Sort(nodes)
	return nodes
}

// Counts returns how many gaps there were in sequence numbers and how many
// rebirths were asked for.
func (b *Births) Counts() (gaps, asked uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.gaps, b.asked
}

// RebirthTopic is where an edge node takes the command to be born again.
func RebirthTopic(edgeNode string) string {
	group, node, _ := strings.Cut(edgeNode, "/")
	return "spBv1.0/" + group + "/NCMD/" + node
}

// Rebirth is that command: the metric "Node Control/Rebirth", Boolean, true.
func Rebirth(now time.Time) []byte {
	const name = "Node Control/Rebirth"
	at := uint64(max(now.UnixMilli(), 0))
	m := appendBytes(nil, 1, []byte(name))
	m = appendNumber(m, 3, at)
	m = appendNumber(m, 4, typeBoolean)
	m = appendNumber(m, 14, 1)
	return appendBytes(appendNumber(nil, 1, at), 2, m)
}
