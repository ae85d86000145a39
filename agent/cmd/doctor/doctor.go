package doctor

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"scanrelay/agent/cmd/chinese"
	"scanrelay/agent/cmd/cli"
	"scanrelay/agent/control"
	"scanrelay/agent/update/record"
	"scanrelay/configs"
)

// grade is what a finding means.
type grade string

const (
	ok   grade = "ok"
	warn grade = "warn"
	fail grade = "fail"
)

// finding is what was found out about one thing.
type finding struct {
	Check  string `json:"check"`
	Grade  grade  `json:"result"` // ok, warn, fail
	Text   string `json:"text"`
	Advice string `json:"advice,omitempty"` // what to do
	MS     int64  `json:"milliseconds"`
}

// examination is one run of doctor.
type examination struct {
	cli.IO
	file, version string
	json          bool

	cfg    *configs.Agent
	view   control.View    // of the agent or its store; nil: neither can be looked at
	status *control.Status // of the running agent; nil: none runs
	found  []finding
}

// Command returns the command; file is the configuration unless -c names another.
func Command(world cli.IO, file, version string) *cli.Command {
	e := &examination{IO: world, version: version}
	cmd := &cli.Command{
		Use:   "doctor",
		Short: "Look at all that an agent needs, and say what to do",
		Long:  "Look at configuration, clock, disk, store, broker, centre, WeChat and updates, whether\nan agent runs or not: each ok, warn or fail, with what to do. It fails if one of them does.",
		Args:  cli.NoArgs,
		Run:   func(ctx context.Context, _ []string) error { return e.run(ctx) },
	}
	cmd.Flags().StringVarP(&e.file, "config", "c", file, "the agent's configuration `FILE`")
	cmd.Flags().BoolVar(&e.json, "json", false, "print JSON")
	return cmd
}

// Report takes all looks and returns them as doctor --json prints them.
func Report(ctx context.Context, world cli.IO, file, version string) ([]byte, error) {
	var out bytes.Buffer
	world.Out = &out
	e := &examination{IO: world, file: file, version: version, json: true}
	if err := e.run(ctx); err != nil && !errors.Is(err, cli.ErrShown) {
		return nil, err
	}
	return out.Bytes(), nil
}

func (e *examination) run(ctx context.Context) error {
	e.look("configuration", e.configuration)
	if e.cfg != nil {
		e.look("agent", func() finding { return e.agent(ctx) })
		if e.view != nil {
			defer e.view.Close()
		}
		e.look("clock", e.clock)
		e.look("disk", e.disk)
		if e.view != nil {
			e.look("store", func() finding { return e.store(ctx) })
		}
		e.look("broker", func() finding { return e.broker(ctx) })
		e.look("centre", func() finding { return e.centre(ctx) })
		e.look("wechat", func() finding { return e.wechat(ctx) })
		e.look("update", func() finding {
			return e.update(record.Root(record.RootFolder), record.Own(filepath.Join(e.cfg.DataDir, "update")))
		})
	}
	failed := slices.ContainsFunc(e.found, func(f finding) bool { return f.Grade == fail })
	if e.json {
		if err := e.JSON(map[string]any{"findings": e.found, "failed": failed}); err != nil {
			return err
		}
	}
	if failed {
		return cli.ErrShown
	}
	return nil
}

// look takes one look and shows what came of it.
func (e *examination) look(check string, do func() finding) {
	began := time.Now()
	f := do()
	f.Check, f.MS = check, time.Since(began).Milliseconds()
	e.found = append(e.found, f)
	if e.json {
		return
	}
	mark := fmt.Sprintf("%-5s", f.Grade)
	if e.Terminal {
		mark = map[grade]string{ok: "\x1b[32m", warn: "\x1b[33m", fail: "\x1b[31m"}[f.Grade] + mark + "\x1b[0m"
	}
	fmt.Fprintf(e.Out, "%s %s %s  (%d ms)\n", mark, cli.Pad(e.Say(f.Check, cmp.Or(names[f.Check], f.Check)), 14), cli.Visible(chinese.Reason(e.IO, f.Text)), f.MS)
	if f.Advice != "" {
		fmt.Fprintf(e.Out, "      %s %s\n", e.Say("to do:", "处理:"), strings.ReplaceAll(f.Advice, "\n", "\n      "))
	}
}

// names are those of what is looked at, in Chinese.
var names = map[string]string{
	"configuration": "配置", "agent": "代理", "clock": "时钟", "disk": "磁盘", "store": "存储",
	"broker": "MQTT 服务", "centre": "中心", "wechat": "微信", "update": "更新",
}
