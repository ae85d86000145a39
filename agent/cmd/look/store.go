package look

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"scanrelay/agent/cmd/cli"
	"scanrelay/agent/control"
	"scanrelay/agent/scan"
	"scanrelay/store"
)

func (s *shared) storeCommand() *cli.Command {
	cmd := &cli.Command{
		Use:   "store",
		Short: "Check or export the store of an agent that does not run",
	}
	check, export := s.looker(), s.looker()
	c := &cli.Command{
		Use:   "check",
		Short: "Verify every page, record and count of the store",
		Long:  "Verify every page, checksum and count of the store, and that all of it can be\ndecrypted. Nothing is changed. Exit code 1 if anything is wrong.",
		Args:  cli.NoArgs,
		Run:   func(context.Context, []string) error { return check.checkStore() },
	}
	e := &cli.Command{
		Use:   "export",
		Short: "Write all records as JSON lines",
		Long: "Write all records and what is in quarantine as JSON lines. Phones, names and\n" +
			"addresses are masked unless --reveal; in free text, which messages, reasons,\n" +
			"topics and payloads are, every run of seven or more digits. Of a damaged store\n" +
			"all is written that can be read, and exit code 1 says that it is not all.",
		Args: cli.NoArgs,
		Run:  func(ctx context.Context, _ []string) error { return export.exportStore(ctx) },
	}
	check.flags(c, false)
	export.flags(e, true)
	if err := e.Flags().MarkHidden("json"); err != nil { // it writes nothing else
		panic(err)
	}
	cmd.Add(c, e)
	return cmd
}

// storeError says what to do about a store that cannot be opened.
func storeError(dir string, err error) error {
	switch {
	case errors.Is(err, store.ErrInUse):
		return fmt.Errorf("the agent is running: stop it first (%w)", err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: no agent has run with this data_dir (%w)", dir, err)
	}
	return err
}

func (l *looker) checkStore() error {
	cfg, err := l.agentOf()
	if err != nil {
		return err
	}
	r, err := store.Check(cfg.DataDir)
	if err != nil {
		return storeError(cfg.DataDir, err)
	}
	if l.json {
		err = l.JSON(struct {
			Good     bool                `json:"good"`
			Files    []*store.FileReport `json:"files"`
			Aside    []string            `json:"aside"`
			Problems []string            `json:"problems"`
			// Unreserved of the room that is kept for outcomes.
			Unreserved int64 `json:"unreserved_bytes"`
		}{r.Good(), r.Files, r.Aside, r.Problems, r.Counts.Unreserved})
	} else {
		_, err = l.Out.Write([]byte(l.checkText(r)))
	}
	if err == nil && !r.Good() {
		return cli.ErrShown
	}
	return err
}

// checkText is a check for people: a line for each file, then what is wrong.
func (l *looker) checkText(r *store.CheckReport) string {
	var b strings.Builder
	for _, f := range r.Files {
		fmt.Fprintf(&b, "%s: ", f.Name)
		if f.Events+f.Carried+f.Notes > 0 || f.First > 0 {
			fmt.Fprintf(&b, l.Say("%d events (%d to %d), %d carried, %d notes", "%d 个事件(%d 到 %d),%d 个搬来,%d 条记录"), f.Events, f.First, f.Last, f.Carried, f.Notes)
		} else {
			fmt.Fprintf(&b, l.Say("%d entries", "%d 条"), f.Rejects)
		}
		if len(f.Problems) == 0 {
			b.WriteString(l.Say(", good", ",完好"))
		}
		if f.Later > 0 {
			fmt.Fprintf(&b, l.Say("; %d notes of a later kind, which this release passes over", ";%d 条记录是更新的版本写的,本版本略过"), f.Later)
		}
		if f.Metas == 1 {
			b.WriteString(l.Say("; one of two meta pages is void: a commit was cut off, or the last one is gone", ";两个元页之一无效:有一次提交被打断,或最后一次丢失"))
		}
		b.WriteByte('\n')
		for _, p := range f.Problems {
			fmt.Fprintf(&b, l.Say("  PROBLEM %s\n", "  问题 %s\n"), p)
		}
	}
	for _, name := range r.Aside {
		fmt.Fprintf(&b, l.Say("%s: set aside by an earlier start\n", "%s:以前某次启动时搁置\n"), name)
	}
	for _, p := range r.Problems {
		fmt.Fprintf(&b, l.Say("PROBLEM %s\n", "问题 %s\n"), p)
	}
	if n := r.Counts.Unreserved; n > 0 {
		fmt.Fprintf(&b, l.Say("not reserved: %s that outcomes need; this file system cannot keep it from other programs\n", "未预留:结果记录需要的 %s,这个文件系统不能为它保留\n"), cli.Size(n))
	}
	if r.Good() {
		fmt.Fprintf(&b, l.Say("all good: %d events received, the counts agree\n", "全部完好:共收到 %d 个事件,数目相符\n"), r.Counts.Received)
	}
	return b.String()
}

// exportedEvent is a line of an export.
type exportedEvent struct {
	control.Node
	DeviceID string            `json:"device_id,omitempty"`
	Pickup   map[string]string `json:"pickup_courier,omitempty"`
	Delivery map[string]string `json:"delivery_courier,omitempty"`
	Waybill  *exportedWaybill  `json:"waybill,omitempty"`
}

type exportedWaybill struct {
	CreateTime int64             `json:"create_time"`
	Sender     map[string]string `json:"sender"`
	Receiver   map[string]string `json:"receiver"`
}

func (l *looker) exportStore(ctx context.Context) error {
	cfg, err := l.agentOf()
	if err != nil {
		return err
	}
	r, err := store.OpenDamaged(cfg.DataDir)
	if err != nil {
		return storeError(cfg.DataDir, err)
	}
	err = errors.Join(l.export(ctx, r), r.Close())
	for _, what := range r.Damage() {
		fmt.Fprintln(l.Err, "scanrelay: not all could be read: "+what)
	}
	if err == nil && len(r.Damage()) > 0 {
		return cli.ErrShown
	}
	return err
}

func (l *looker) export(ctx context.Context, r *store.Reader) error {
	out := bufio.NewWriter(l.Out)
	enc := json.NewEncoder(out)
	err := r.Scan(ctx, store.Filter{}, func(rec store.Record) error { return enc.Encode(l.exported(&rec)) })
	if err == nil {
		err = r.Quarantine(ctx, func(q store.Quarantined) error {
			x := control.RejectedOf(&q, l.reveal)
			x.LastError = l.text(scan.Text(q.Reason))
			return enc.Encode(x)
		})
	}
	return errors.Join(err, out.Flush())
}

func (l *looker) exported(r *store.Record) *exportedEvent {
	e := &r.Event
	x := &exportedEvent{Node: control.NodeOf(r, l.reveal), DeviceID: e.DeviceID, Pickup: l.courier(e.Pickup), Delivery: l.courier(e.Delivery)}
	if w := e.Data; w != nil {
		x.Waybill = &exportedWaybill{w.CreateTime, l.party(&w.Sender), l.party(&w.Receiver)}
	}
	return x
}

// private is what the domain's private texts have in common.
type private interface {
	String() string
	Reveal() string
}

func (l *looker) text(p private) string {
	if l.reveal {
		return p.Reveal()
	}
	return p.String()
}

func (l *looker) courier(c scan.Courier) map[string]string {
	if c == (scan.Courier{}) {
		return nil
	}
	return map[string]string{"name": l.text(c.Name), "phone": l.text(c.Phone)}
}

func (l *looker) party(p *scan.Party) map[string]string {
	return map[string]string{
		"name": l.text(p.Name), "phone": l.text(p.Phone), "province": l.text(p.Province), "city": l.text(p.City),
		"area": l.text(p.Area), "street": l.text(p.Street), "address": l.text(p.Address), "id": l.text(p.ID),
	}
}
