package settings

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/configs/limit"
	"scanrelay/configs/wait"
	"scanrelay/store/durable"
	"scanrelay/uplink/central/audit"
	"scanrelay/uplink/central/documents"
	"scanrelay/uplink/syncapi/directive"
)

// Options is what a Service is made of.
type Options struct {
	Table documents.Table
	Alone bool       // no other process uses Table
	Audit *audit.Log // nil: nothing is kept
	// Check tells what the gateway's validator says against a configuration; nil: nothing.
	Check  func(directive.Body) error
	Now    func() time.Time
	Logger *slog.Logger
}

// Service keeps them.
type Service struct {
	o      Options
	failed wait.Rarely
	places *limit.Places // of gateways that fetch

	mu    sync.Mutex
	index index // guarded by mu
}

// Selector names depots: all that it says must be so.
type Selector struct {
	ID    scan.DepotID `json:"id,omitempty"`
	Site  string       `json:"site,omitempty"`
	Label string       `json:"label,omitempty"` // key=value
}

// Entry is a configuration without its body.
type Entry struct {
	Name     string    `json:"name"`
	Revision int64     `json:"revision"`
	Selector Selector  `json:"selector"`
	SHA256   string    `json:"sha256"`
	By       string    `json:"by"`
	At       time.Time `json:"at"`
}

type index struct {
	Revision int64            `json:"revision"` // the last
	Entries  map[string]Entry `json:"entries"`
}

// text is a body as gateways get it, byte for byte.
type text struct {
	Revision int64  `json:"revision"`
	Text     string `json:"text"`
}

const (
	indexName  = "config/index"
	textPrefix = "config/text/"
	maxNames   = 1000
	every      = 5 * time.Second
	// One that is put for a whole fleet is fetched by all within a few seconds.
	maxFetches, depotFetches = 256, 2
)

var name = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// ErrRefused is what an operator is told.
var ErrRefused = errors.New("refused")

// ErrUnknown: there is none of that name.
var ErrUnknown = errors.New("there is no configuration of that name")

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrRefused, fmt.Errorf(format, args...))
}

// New makes a Service; Load reads what there is.
func New(o Options) *Service {
	return &Service{o: o, failed: wait.Rarely{Every: time.Minute}, places: limit.NewPlaces(maxFetches, depotFetches)}
}

// Load reads what the processes of the centre have put.
func (s *Service) Load(ctx context.Context) error {
	var x index
	if _, err := documents.Get(ctx, s.o.Table, indexName, &x); err != nil {
		s.damaged(err, "the list of remote configurations (document %s) cannot be read: gateways keep what they have; put it back from a backup", indexName)
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.o.Alone || x.Revision >= s.index.Revision { // what was read before another was put is older
		s.index = x
	}
	return nil
}

// damaged tells of a document that is; one of a table that is away is not.
func (s *Service) damaged(err error, format string, args ...any) {
	if errors.Is(err, durable.ErrDamaged) {
		s.o.Table.NoteDamage(fmt.Sprintf(format, args...))
	}
}

// Run looks what others have put, until ctx ends.
func (s *Service) Run(ctx context.Context) {
	for !s.o.Alone && wait.Sleep(ctx, every) {
		if err := s.Load(ctx); err != nil && ctx.Err() == nil {
			s.tell(err)
		}
	}
}

func (s *Service) tell(err error) {
	if more, due := s.failed.Due(s.o.Now()); due {
		s.o.Logger.Error("remote configurations", "error", err, "failed_since_last_line", more)
	}
}

// List is all, by name.
func (s *Service) List() []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Values(s.index.Entries), func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
}

// Active reports whether there is any.
func (s *Service) Active() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.index.Entries) > 0
}

// exact is how closely a selector names a depot; 0: not at all.
func (x Selector) exact(id scan.DepotID, site string, labels map[string]string) (n int) {
	if x.ID != "" {
		if n += 4; x.ID != id {
			return 0
		}
	}
	if x.Site != "" {
		if n += 2; x.Site != site {
			return 0
		}
	}
	if x.Label != "" {
		n++
		if k, v, _ := strings.Cut(x.Label, "="); labels[k] != v {
			return 0
		}
	}
	return n
}

// Of is the one that a depot is to have; nil: none.
func (s *Service) Of(id scan.DepotID, site string, labels map[string]string) *directive.Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	var best Entry
	most := 0
	for _, e := range s.index.Entries {
		n := e.Selector.exact(id, site, labels)
		if n > 0 && cmp.Or(cmp.Compare(n, most), cmp.Compare(e.Revision, best.Revision)) > 0 {
			best, most = e, n
		}
	}
	if most == 0 {
		return nil
	}
	return &directive.Config{Name: best.Name, Revision: best.Revision, SHA256: best.SHA256}
}

// Text is the body that a directive names; nil: there is another by now.
func (s *Service) Text(ctx context.Context, d *directive.Config) ([]byte, error) {
	var t text
	if _, err := documents.Get(ctx, s.o.Table, textPrefix+d.Name, &t); err != nil {
		s.damaged(err, "the remote configuration %s (document %s) cannot be read: put it again", d.Name, textPrefix+d.Name)
		return nil, err
	}
	if t.Revision != d.Revision {
		return nil, nil
	}
	return []byte(t.Text), nil
}

// Put keeps a configuration under a name, in the place of the one before.
func (s *Service) Put(ctx context.Context, by, from, under string, x Selector, body directive.Body) (e Entry, err error) {
	if err := s.check(under, x, body); err != nil {
		return e, err
	}
	content, err := json.Marshal(body)
	if err != nil {
		return e, err
	}
	if len(content) > directive.MaxBody {
		return e, refuse("a configuration has at most %d bytes", directive.MaxBody)
	}
	for range 20 {
		was := map[string]int64{}
		var all index
		if was[indexName], err = documents.Get(ctx, s.o.Table, indexName, &all); err != nil {
			return e, err
		}
		if was[textPrefix+under], err = documents.Get(ctx, s.o.Table, textPrefix+under, &json.RawMessage{}); err != nil && was[textPrefix+under] == 0 {
			return e, err // one that is damaged is put anew
		}
		if _, there := all.Entries[under]; !there && len(all.Entries) >= maxNames {
			return e, refuse("there are %d configurations, which is as many as may be", maxNames)
		}
		if all.Entries == nil {
			all.Entries = map[string]Entry{}
		}
		all.Revision++
		e = Entry{Name: under, Revision: all.Revision, Selector: x, SHA256: sum(content), By: by, At: s.o.Now().UTC().Truncate(time.Second)}
		all.Entries[under] = e
		done, err := documents.Put(ctx, s.o.Table, was, map[string]any{indexName: all, textPrefix + under: text{e.Revision, string(content)}})
		if err != nil {
			return e, err
		}
		if !done {
			continue // another was faster
		}
		err = s.o.Audit.Add(audit.Entry{Who: by, From: from, Action: "config.put", Depot: string(x.ID), Result: audit.OK, Detail: fmt.Sprintf("%s, revision %d, for %+v", under, e.Revision, x)})
		if err != nil {
			s.o.Logger.Error("write the audit log", "error", err)
		}
		return e, s.Load(ctx)
	}
	return e, errors.New("put a configuration: others change them all the time")
}

// Delete forgets a name whose configuration gives nothing any more: gateways keep what they
// were given last, so that is to be taken back first.
func (s *Service) Delete(ctx context.Context, by, from, under string) error {
	var gone Entry
	_, err := documents.Change(ctx, s.o.Table, indexName, func(all *index) (bool, error) {
		e, there := all.Entries[under]
		switch {
		case !there:
			return false, ErrUnknown
		case e.SHA256 != sum([]byte("{}")):
			return false, refuse("%s still gives something: put it with a selector alone first, so that gateways take it back", under)
		}
		gone = e
		delete(all.Entries, under)
		return true, nil
	})
	if err != nil {
		return err
	}
	err = s.o.Audit.Add(audit.Entry{Who: by, From: from, Action: "config.delete", Depot: string(gone.Selector.ID), Result: audit.OK, Detail: fmt.Sprintf("%s, revision %d", under, gone.Revision)})
	if err != nil {
		s.o.Logger.Error("write the audit log", "error", err)
	}
	return s.Load(ctx)
}

// maxText bounds a site and a label.
const maxText = 200

func (s *Service) check(under string, x Selector, body directive.Body) error {
	switch {
	case !name.MatchString(under):
		return refuse("a name has small letters, digits and -, 63 at most")
	case x == Selector{}:
		return refuse("selector must name an id, a site or a label")
	case x.ID != "" && !x.ID.Valid():
		return refuse("selector: id is no depot id")
	case len(x.Site) > maxText || len(x.Label) > maxText || x.Label != "" && strings.Index(x.Label, "=") < 1:
		return refuse("selector: label is key=value; it and site have at most %d bytes", maxText)
	}
	if err := onlyLevel(body.Log); err != nil {
		return err
	}
	if courierIn(body.Sources, isConstant) {
		return refuse("sources: names and phones of couriers as constants stay in the gateway's own file")
	}
	if courierIn(body.Stations, func(any) bool { return true }) {
		return refuse("stations: names and phones of couriers stay in the gateway's own file")
	}
	if s.o.Check != nil {
		if err := s.o.Check(body); err != nil {
			return refuse("%w", err)
		}
	}
	return nil
}

// courierIn reports whether a field of a courier, however its name is written, has a value
// that is personal. What is no JSON the check refuses.
func courierIn(part json.RawMessage, personal func(value any) bool) bool {
	var v any
	return len(part) > 0 && json.Unmarshal(part, &v) == nil && courierWithin(v, personal)
}

func courierWithin(v any, personal func(any) bool) bool {
	switch v := v.(type) {
	case []any:
		return slices.ContainsFunc(v, func(e any) bool { return courierWithin(e, personal) })
	case map[string]any:
		for key, e := range v {
			if strings.Contains(key, "courier") && personal(e) || courierWithin(e, personal) {
				return true
			}
		}
	}
	return false
}

// isConstant reports whether a source's field is a text of the configuration, or has one
// among the places that it is joined from: "=text".
func isConstant(value any) bool {
	text, ok := value.(string)
	return !ok || slices.ContainsFunc(strings.Split(text, "+"), func(part string) bool { return strings.HasPrefix(strings.TrimSpace(part), "=") })
}

// onlyLevel holds that of log nothing else is changed.
func onlyLevel(log json.RawMessage) error {
	if len(log) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(log))
	d.DisallowUnknownFields()
	if d.Decode(&struct{ Level string }{}) != nil {
		return refuse("log: only its level can be given")
	}
	return nil
}
