package presence

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/configs/wait"
	"scanrelay/uplink/central/documents"
)

// Table is where processes of a centre tell each other of depots. It has one row of each,
// and a clock of its own.
type Table interface {
	// PutPresence writes what depots said and how long ago, unless a row is newer.
	PutPresence(ctx context.Context, depots []string, said [][]byte, ago []time.Duration) error
	// Presence gives the rows of a depot, or of all if it is "", with how long ago each
	// was heard of; what it said is nil where that did not change since. It returns the
	// table's time.
	Presence(ctx context.Context, depot string, since time.Time, each func(depot string, said []byte, ago time.Duration)) (time.Time, error)
}

const (
	// writeEvery is how often this process looks what it has to write, and rowEvery how
	// old a row is at least before it is written for nothing but that it is older.
	writeEvery = 2 * time.Second
	rowEvery   = 10 * time.Second
	// atOnce is how many rows are written at a time: all locks of a statement are held
	// until it ends.
	atOnce = 2_000
	// readEvery is how old what was read of the others may be.
	readEvery = 5 * time.Second
	// overlap is how far a reading goes back before the last one: what was written then
	// may have become visible since. It is more than a write may take.
	overlap = 15 * time.Second
	// stopLimit is how long a stop waits for the table.
	stopLimit = 2 * time.Second
)

// Load reads what other processes, or this one before, heard.
func (p *Presence) Load(ctx context.Context) error { return p.refresh(ctx, 0) }

// refresh reads the table, unless somebody did within that time.
func (p *Presence) refresh(ctx context.Context, within time.Duration) error {
	if p.table == nil {
		return nil
	}
	p.reading.Lock()
	defer p.reading.Unlock()
	begun := p.now()
	if !p.read.IsZero() && begun.Sub(p.read).Abs() < within {
		return nil
	}
	at, err := p.table.Presence(ctx, "", p.since, p.take)
	if err != nil {
		return fmt.Errorf("read which depots were heard of: %w", err)
	}
	p.read, p.since = begun, at.Add(-overlap)
	return nil
}

func (p *Presence) readOne(ctx context.Context, id scan.DepotID) error {
	if p.table == nil {
		return nil
	}
	if _, err := p.table.Presence(ctx, string(id), time.Time{}, p.take); err != nil {
		return fmt.Errorf("read when a depot was heard of: %w", err)
	}
	return nil
}

// take takes a row.
func (p *Presence) take(depot string, said []byte, ago time.Duration) {
	id := scan.DepotID(depot)
	var m Member
	readable := said != nil && documents.Open(depot, said, &m) == nil // else the depot says it anew
	p.mu.Lock()
	defer p.mu.Unlock()
	if !readable {
		m = p.rows[id]
	}
	m.Last = p.now().Add(-ago)
	p.rows[id] = m
}

func (p *Presence) writeLoop(ctx context.Context, log *slog.Logger) {
	failed := wait.Rarely{Every: time.Minute}
	for on := true; on; {
		on = wait.Sleep(ctx, writeEvery)
		limited, cancel := ctx, context.CancelFunc(func() {})
		if !on { // what was heard last is worth a moment
			limited, cancel = context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
		}
		if err := p.write(limited, !on); err != nil && (ctx.Err() == nil || !on) {
			if more, due := failed.Due(p.now()); due {
				log.Error("tell other processes which depots were heard of", "error", err, "failed_since_last_line", more)
			}
		}
		cancel()
	}
}

// Write puts into the table what is due.
func (p *Presence) Write(ctx context.Context) error { return p.write(ctx, false) }

// write puts into the table what is due, and where all is set what is not yet.
func (p *Presence) write(ctx context.Context, all bool) error {
	for chunk := range slices.Chunk(p.ready(all), atOnce) {
		depots, said, ago := make([]string, len(chunk)), make([][]byte, len(chunk)), make([]time.Duration, len(chunk))
		for i, h := range chunk {
			text, err := json.Marshal(h.Member)
			if err != nil {
				return err
			}
			depots[i], said[i] = string(h.id), documents.Seal(string(h.id), text)
			ago[i] = max(0, p.now().Sub(h.Last))
		}
		if err := p.table.PutPresence(ctx, depots, said, ago); err != nil {
			return err
		}
		p.wrote(chunk)
	}
	return nil
}

type heard struct {
	id scan.DepotID
	Member
}

func (p *Presence) ready(all bool) (list []heard) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, now := range p.due {
		own, row := p.own[id], p.rows[id]
		switch age := own.Last.Sub(row.Last); {
		case age <= 0: // another process has heard of it since
			delete(p.due, id)
		case now || all || age >= rowEvery:
			list = append(list, heard{id, own})
		}
	}
	return list
}

func (p *Presence) wrote(list []heard) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range list {
		if p.rows[h.id] = h.Member; p.own[h.id].Last.Equal(h.Last) {
			delete(p.due, h.id)
		} else {
			p.due[h.id] = matters(&h.Member, new(p.own[h.id]))
		}
	}
}
