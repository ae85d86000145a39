package mapdevice

import (
	"context"
	"slices"
	"strings"

	"scanrelay/agent/intake/mapping"
	"scanrelay/agent/intake/sparkplug"
	"scanrelay/agent/intake/topic"
	"scanrelay/agent/scan"
	"scanrelay/configs"
	"scanrelay/store"
)

// problem is what is wrong with a draft, or perhaps not meant.
type problem struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"`
	Key     string `json:"key"`
	Text    string `json:"text"`
	Warning bool   `json:"warning,omitempty"`
}

// outcome is what a draft would do.
type outcome struct {
	Failed   bool      `json:"failed"` // the draft is not right: nothing was tried
	Problems []problem `json:"problems"`
	Tried    []tried   `json:"tried"`
	Waiting  waiting   `json:"quarantine"`
}

// tried is a message and what becomes of it.
type tried struct {
	ID     string                    `json:"id"`
	Topic  string                    `json:"topic"`
	Filter string                    `json:"filter"` // of the source that takes it
	Own    bool                      `json:"own"`    // which is the draft's
	Events int                       `json:"events"`
	Reads  []mapping.ReadExplanation `json:"reads"`
	More   int                       `json:"more,omitempty"` // reads that are not shown
}

// waiting is what would become of the quarantine.
type waiting struct {
	Entries    int `json:"entries"` // that the draft's sources take
	Understood int `json:"understood"`
	Events     int `json:"events"`
}

const (
	maxTried = 20 // messages
	maxReads = 5  // that are shown of each
)

// problemsOf are those that whoever maps a device has to know: all that fails, and what
// is said of the folders of sources.
func problemsOf(ps configs.Problems) []problem {
	list := []problem{}
	for _, p := range ps {
		if at := strings.LastIndex(p.File, configs.SourcesDir+"/"); at >= 0 || !p.Warning {
			list = append(list, problem{p.File[strings.LastIndex(p.File, "/")+1:], p.Line, p.Key, p.Text, p.Warning})
		}
	}
	return list
}

// try tells what becomes of the messages that are kept and of the quarantine.
func (d *Desk) try(ctx context.Context, name string, text []byte) (outcome, error) {
	draft := d.o.Files.Draft(name, text)
	o := outcome{Problems: problemsOf(draft.Problems), Tried: []tried{}, Failed: draft.Problems.Failed()}
	if o.Failed {
		return o, nil
	}
	rules, problems := mapping.Compile(draft.Agent.Mapping())
	if err := problems.Err(); err != nil {
		return o, err
	}
	m := mapping.New(rules, d.o.Clock, sparkplug.NewBirths(nil))
	ours, filters := make(map[string]bool), []string(nil)
	for _, source := range draft.Own {
		ours[source.Topic], filters = true, append(filters, topic.Unshared(source.Topic))
	}
	own, err := topic.Matcher(filters)
	if err != nil {
		return o, err
	}
	all := d.messages()
	for i := range all { // what births say must be known before what follows them
		if t, ok := sparkplug.ParseTopic(all[i].Topic); ok && t.Birth() {
			m.Map(all[i].Topic, all[i].Payload, all[i].Info())
		}
	}
	d.mu.Lock()
	all = append(slices.Clone(d.rejected), all...)
	d.mu.Unlock()
	for i := len(all) - 1; i >= 0 && len(o.Tried) < maxTried; i-- {
		if !all[i].large && own(all[i].Topic) {
			o.Tried = append(o.Tried, explain(m, &all[i], ours))
		}
	}
	err = d.o.Quarantine(ctx, func(q store.Quarantined) error {
		if !own(q.Topic) {
			return nil
		}
		o.Waiting.Entries++
		if b, ok := m.Again(q.Reject, q.Seq); ok && len(b.Rejects) == 0 {
			o.Waiting.Understood++
			o.Waiting.Events += len(b.Events)
		}
		return nil
	})
	return o, err
}

func explain(m *mapping.Mapper, one *message, ours map[string]bool) tried {
	e := m.Explain(one.Topic, one.Payload, one.Info(), false)
	t := tried{ID: one.id, Topic: scan.MaskPayload(one.Topic), Filter: e.Filter, Events: len(e.Batch.Events), Reads: e.Reads}
	t.Own = ours[e.Filter]
	t.Reads = t.Reads[:min(len(t.Reads), maxReads)]
	t.More = len(e.Reads) - len(t.Reads)
	return t
}
