//go:build !gateway

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"scanrelay/agent/cmd/cli"
	"scanrelay/agent/scan"
	"scanrelay/configs/wait"
	"scanrelay/uplink/central/rollout"
)

const rolloutsPath = "/v1/rollouts"

func (a *app) rolloutCommand() *cli.Command {
	cmd := &cli.Command{Use: "rollout", Short: "Bring a release to the gateways in rings; pause, halt, go back"}
	cmd.Add(
		a.rolloutStart(), a.rolloutStatus(),
		a.rolloutAct("pause", "Let no further gateway begin", "nobody begins any more; scanrelay rollout resume goes on", "不再有网关开始更新;继续用 scanrelay rollout resume"),
		a.rolloutAct("resume", "Go on after a pause or a halt; what failed so far is forgiven", "it goes on", "继续推送"),
		a.rolloutAct("halt", "Stop it: those on their way are held, too", "it is halted; scanrelay rollout back has gateways go back, resume goes on", "已停止;退回用 scanrelay rollout back,继续用 resume"),
		a.rolloutAct("back", "Have all gateways that got it go back to what they ran before", "gateways go back to what they ran before; scanrelay rollout status shows it", "网关退回到之前的版本;进展见 scanrelay rollout status"),
	)
	return cmd
}

func (a *app) rolloutStart() *cli.Command {
	o := &operator{app: a}
	var rings, soak, halt, canaries string
	var p rollout.Plan
	cmd := &cli.Command{
		Use:   "start V",
		Short: "Begin to bring a release to the gateways",
		Long: "Begin to bring a release of the repository to the gateways: first to the canaries,\n" +
			"then to one share of the fleet after the other, each after a soak; it halts by\n" +
			"itself when more fail than --halt-at of those that were told, one at least.",
		Args: cli.Exactly(1, "one version"),
		Run: func(ctx context.Context, args []string) (err error) {
			p.Version = args[0]
			if p.HaltAt, err = share("halt-at", halt); err != nil {
				return err
			}
			for text := range strings.SplitSeq(rings, ",") {
				ring, err := share("rings", text)
				if err != nil {
					return err
				}
				p.Rings = append(p.Rings, ring)
			}
			for id := range strings.SplitSeq(canaries, ",") {
				if id = strings.TrimSpace(id); id != "" {
					p.Canaries = append(p.Canaries, scan.DepotID(id))
				}
			}
			d, err := wait.ParseDuration(soak)
			if err != nil {
				return cli.Usagef("--soak must be a duration as 1h")
			}
			p.Soak = int64(d / time.Second)
			if err := p.Check(); err != nil {
				return cli.Usagef("%s", err)
			}
			var r rollout.Rollout
			if err := o.call(ctx, http.MethodPost, rolloutsPath, p, &r); err != nil {
				return err
			}
			if o.json {
				return o.JSON(r)
			}
			_, err = fmt.Fprintf(o.Out, o.Say("the rollout of %s has begun; scanrelay rollout status shows it\n", "版本 %s 开始推送;进展见 scanrelay rollout status\n"), r.Version)
			return err
		},
	}
	o.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&rings, "rings", "1%,10%,50%,100%", "`SHARES` of the fleet, one after the other")
	f.StringVar(&canaries, "canary", "", "the depots that come first: `ID,…`")
	f.StringVar(&soak, "soak", "1h", "how long a ring is watched before the next one: a `DURATION`")
	f.StringVar(&halt, "halt-at", "2%", "the `SHARE` of failures of those that were told, above which it halts")
	f.StringToStringVar(&p.Labels, "label", nil, "only depots with this label, and the canaries: region=east; several times")
	f.StringVar(&p.Window, "window", "", "when gateways may change, by their local time: `01:00-05:00`")
	return cmd
}

// share reads 2% or 0.02.
func share(flag, text string) (float64, error) {
	number, percent := strings.CutSuffix(strings.TrimSpace(text), "%")
	v, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, cli.Usagef("--%s must be shares as 2%%", flag)
	}
	if percent {
		v /= 100
	}
	return v, nil
}

func (a *app) rolloutAct(action, short, said, chinese string) *cli.Command {
	o := &operator{app: a}
	cmd := &cli.Command{
		Use: action, Short: short, Args: cli.NoArgs,
		Run: func(ctx context.Context, _ []string) error {
			var r rollout.Rollout
			if err := o.call(ctx, http.MethodPost, rolloutsPath+"/"+action, nil, &r); err != nil {
				return err
			}
			if o.json {
				return o.JSON(r)
			}
			_, err := fmt.Fprintf(o.Out, "%s: %s\n", r.Version, o.Say(said, chinese))
			return err
		},
	}
	o.flags(cmd)
	return cmd
}

func (a *app) rolloutStatus() *cli.Command {
	o := &operator{app: a}
	cmd := &cli.Command{
		Use: "status", Short: "Show how far it is, what failed, and where a person must decide", Args: cli.NoArgs,
		Run: func(ctx context.Context, _ []string) error {
			var all struct {
				Now  *rollout.View     `json:"now"`
				Past []rollout.Rollout `json:"past"`
			}
			if err := o.call(ctx, http.MethodGet, rolloutsPath, nil, &all); err != nil {
				return err
			}
			if o.json {
				return o.JSON(all)
			}
			if all.Now == nil {
				return errors.New(o.Say("there is no rollout: scanrelay rollout start V begins one", "没有推送:用 scanrelay rollout start V 开始"))
			}
			return o.showRollout(all.Now)
		},
	}
	o.flags(cmd)
	return cmd
}

func (o *operator) showRollout(v *rollout.View) error {
	lang := o.Say("en", "zh")
	fmt.Fprintf(o.Out, "%s  %s  %s %s\n", v.Version, cli.Because(rollout.Word(lang, v.State), v.Why), o.Say("since", "自"), v.Since.Format(time.RFC3339))
	for _, kind := range v.Needs {
		fmt.Fprintf(o.Out, "! %s\n", rollout.Word(lang, "need_"+kind))
	}
	t := &cli.Table{Head: []string{
		o.Say("RING", "批次"), o.Say("DEPOTS", "网点"), o.Say("UPDATED", "已更新"), o.Say("FAILED", "失败"), o.Say("UNDER WAY", "进行中"), o.Say("WAITING", "等待"),
		o.Say("OFFLINE", "离线"), o.Say("SILENT", "失联"), o.Say("HELD", "暂缓"), o.Say("UNABLE", "不支持"), o.Say("BACK", "已退回"),
	}}
	for _, c := range v.Counts {
		if c.Ring == 0 && c.Total == 0 {
			continue
		}
		t.Add(v.Name(lang, c.Ring), strconv.Itoa(c.Total), strconv.Itoa(c.Updated+c.Already), strconv.Itoa(c.Failed), strconv.Itoa(c.Busy), strconv.Itoa(c.Waiting),
			strconv.Itoa(c.Offline), strconv.Itoa(c.Silent), strconv.Itoa(c.Held), strconv.Itoa(c.Unable), strconv.Itoa(c.Gone))
	}
	if err := t.Print(o.IO); err != nil {
		return err
	}
	if v.Next != nil && v.State == rollout.Running {
		fmt.Fprintf(o.Out, "%s %s\n", o.Say("the soak of this ring ends at", "本批次观察期结束于"), v.Next.Format(time.RFC3339))
	}
	for _, f := range v.Trips {
		fmt.Fprintf(o.Out, "%s  %s\n", f.ID, cli.Visible(f.Why))
	}
	return nil
}
