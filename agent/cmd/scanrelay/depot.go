//go:build !gateway

package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"scanrelay/agent/cmd/cli"
	"scanrelay/agent/scan"
	"scanrelay/uplink/central/audit"
	"scanrelay/uplink/central/identity"
)

func (a *app) depotCommand() *cli.Command {
	cmd := &cli.Command{
		Use:   "depot",
		Short: "Add, show, revoke and replace depots at the centre",
	}
	cmd.Add(a.depotAdd(), a.depotList(), a.depotShow(), a.depotRevoke(), a.depotReset(), a.depotJoinToken())
	return cmd
}

const depotsPath = "/v1/depots"

func depotPath(id, action string) string { return depotsPath + "/" + url.PathEscape(id) + action }

func (a *app) depotAdd() *cli.Command {
	o := &operator{app: a}
	var d identity.Depot
	var labels map[string]string
	var file string
	cmd := &cli.Command{
		Use:   "add ID",
		Short: "Register a depot and print its one-time enrolment token",
		Long: "Register a depot and print its one-time enrolment token, which is shown once:\n" +
			"only its hash is kept. On the gateway: scanrelay enrol --token TOKEN. With --csv\n" +
			"many: a line each of id, name, site and labels as k=v;k=v, after a first line\n" +
			"that names these columns.",
		Run: func(ctx context.Context, args []string) error {
			if (file != "") == (len(args) == 1) || len(args) > 1 {
				return cli.Usagef("add needs one ID, or --csv FILE")
			}
			if file == "-" && o.token == "-" {
				return cli.Usagef("--csv and --token cannot both be read from stdin: give one as a file")
			}
			if file != "" {
				return o.addAll(ctx, file)
			}
			d.ID, d.Labels = scan.DepotID(args[0]), labels
			return o.add(ctx, d)
		},
	}
	f := cmd.Flags()
	o.flags(cmd)
	f.StringVar(&d.Name, "name", "", "the depot's name, as people call it: `TEXT`")
	f.StringVar(&d.Site, "site", "", "the `SITE`, where several depots are at one")
	f.StringToStringVar(&labels, "label", nil, "a label, as region=east; several times")
	f.StringVar(&file, "csv", "", "a `FILE` with many depots; - reads stdin")
	return cmd
}

func (o *operator) add(ctx context.Context, d identity.Depot) error {
	var i identity.Invite
	if err := o.call(ctx, http.MethodPost, depotsPath, d, &i); err != nil {
		return err
	}
	return o.invited(string(d.ID), i)
}

// invited prints a token, which nobody can show again.
func (o *operator) invited(id string, i identity.Invite) error {
	if o.json {
		return o.JSON(map[string]any{"id": id, "enrol_token": i.Token, "expires": i.Expires})
	}
	_, err := fmt.Fprintf(o.Out, "%s\t%s\texpires %s\n", id, i.Token, i.Expires.Format(time.RFC3339))
	return err
}

// addAll adds the depots of a file; those that cannot be added are named, and the
// others added all the same.
func (o *operator) addAll(ctx context.Context, file string) error {
	list, err := o.readCSV(file)
	if err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	failed := 0
	for _, d := range list {
		if err := o.add(ctx, d); err != nil {
			failed++
			fmt.Fprintf(o.Err, "%s: %v\n", d.ID, err)
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d depots were not added", failed, len(list))
	}
	return nil
}

func (o *operator) readCSV(file string) (list []identity.Depot, err error) {
	in := o.In
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	r := csv.NewReader(in)
	head, err := r.Read()
	if err != nil {
		return nil, err
	}
	head[0] = strings.TrimPrefix(head[0], "\ufeff")
	known := map[string]bool{"id": false, "name": false, "site": false, "labels": false} // whether it stands there
	for i := range head {
		head[i] = strings.TrimSpace(head[i])
		switch twice, ok := known[head[i]]; {
		case !ok:
			return nil, fmt.Errorf("column %q is none of id, name, site, labels", head[i])
		case twice:
			return nil, fmt.Errorf("column %q stands there twice", head[i])
		}
		known[head[i]] = true
	}
	if !known["id"] {
		return nil, errors.New("the first line names no column id")
	}
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		var d identity.Depot
		for i, text := range row {
			switch text = strings.TrimSpace(text); head[i] {
			case "id":
				d.ID = scan.DepotID(text)
			case "name":
				d.Name = text
			case "site":
				d.Site = text
			case "labels":
				if d.Labels, err = parseLabels(text); err != nil {
					return nil, err
				}
			}
		}
		list = append(list, d)
	}
}

func parseLabels(text string) (map[string]string, error) {
	labels := map[string]string{}
	for _, l := range strings.FieldsFunc(text, func(r rune) bool { return r == ';' }) {
		k, v, ok := strings.Cut(strings.TrimSpace(l), "=")
		if _, twice := labels[k]; twice {
			return nil, fmt.Errorf("label %q stands there twice", k)
		}
		if !ok {
			return nil, fmt.Errorf("label %q is not key=value", l)
		}
		labels[k] = v
	}
	return labels, nil
}

func (a *app) depotList() *cli.Command {
	o := &operator{app: a}
	cmd := &cli.Command{
		Use:   "list",
		Short: "List the depots",
		Args:  cli.NoArgs,
		Run: func(ctx context.Context, _ []string) error {
			var all struct {
				Depots []identity.View `json:"depots"`
			}
			if err := o.call(ctx, http.MethodGet, depotsPath, nil, &all); err != nil {
				return err
			}
			if o.json {
				return o.JSON(all)
			}
			t := &cli.Table{Head: []string{"ID", "STATE", "LAST CONTACT", "VERSION", "NAME", "SITE", "ALARMS"}}
			for _, v := range all.Depots {
				t.Add(string(v.ID), v.State, when(v.LastContact), v.Version, v.Name, v.Site, alarmed(v.Alarms))
			}
			return t.Print(o.IO)
		},
	}
	o.flags(cmd)
	return cmd
}

func when(t *time.Time) string {
	if t == nil {
		return "never"
	}
	return t.Format(time.RFC3339)
}

func alarmed(list []identity.Alarm) string {
	var kinds []string
	for _, a := range list {
		kinds = append(kinds, a.Kind)
	}
	return strings.Join(kinds, " ")
}

func (a *app) depotShow() *cli.Command {
	o := &operator{app: a}
	cmd := &cli.Command{
		Use:   "show ID",
		Short: "Show one depot: its key, state and alarms",
		Args:  cli.Exactly(1, "one ID"),
		Run: func(ctx context.Context, args []string) error {
			var v identity.View
			if err := o.call(ctx, http.MethodGet, depotPath(args[0], ""), nil, &v); err != nil {
				return err
			}
			if o.json {
				return o.JSON(v)
			}
			return o.showDepot(v)
		},
	}
	o.flags(cmd)
	return cmd
}

func (o *operator) showDepot(v identity.View) error {
	t := &cli.Table{Head: []string{"", ""}}
	t.Add("id", string(v.ID))
	t.Add("name", v.Name)
	t.Add("site", v.Site)
	for _, k := range slices.Sorted(maps.Keys(v.Labels)) {
		t.Add("label", k+"="+v.Labels[k])
	}
	t.Add("state", cli.Because(v.State, v.Reason))
	t.Add("key", v.Key)
	t.Add("enrolled", when(v.Enrolled))
	if v.Expires != nil {
		t.Add("token", "waits to be used until "+when(v.Expires))
	}
	t.Add("last contact", when(v.LastContact)+", version "+v.Version+" "+v.OSArch)
	if v.Pending != nil && v.Outcome != nil {
		t.Add("events", fmt.Sprintf("%d wait, the oldest for %d s; %d dead", v.Pending.Total(), v.Pending.OldestSeconds, v.Outcome.Dead))
	}
	for _, k := range v.Past {
		t.Add("past key", k.Fingerprint+", until "+k.Until.Format(time.RFC3339)+": "+k.Why)
	}
	for _, alarm := range v.Alarms {
		t.Add("ALARM", alarm.What+". "+alarm.Do)
	}
	return t.Print(o.IO)
}

func (a *app) depotRevoke() *cli.Command {
	o := &operator{app: a}
	var why string
	cmd := &cli.Command{
		Use:   "revoke ID --reason TEXT",
		Short: "Shut a depot out at once: its key, session, token and certificate",
		Args:  cli.Exactly(1, "one ID"),
		Run: func(ctx context.Context, args []string) error {
			if why == "" {
				return cli.Usagef("revoke needs --reason TEXT")
			}
			if err := o.call(ctx, http.MethodPost, depotPath(args[0], "/revoke"), map[string]string{"reason": why}, &struct{}{}); err != nil {
				return err
			}
			_, err := fmt.Fprintf(o.Out, "%s is revoked; scanrelay depot reset %[1]s makes a token that lets it in again\n", args[0])
			return err
		},
	}
	o.flags(cmd)
	cmd.Flags().StringVar(&why, "reason", "", "why, for the audit log: `TEXT`")
	return cmd
}

func (a *app) depotReset() *cli.Command {
	o := &operator{app: a}
	cmd := &cli.Command{
		Use:   "reset ID",
		Short: "Print a new enrolment token for a gateway that was replaced",
		Long:  "Print a new enrolment token for a gateway that was replaced. The old key ends\nwhen it is used.",
		Args:  cli.Exactly(1, "one ID"),
		Run: func(ctx context.Context, args []string) error {
			var i identity.Invite
			if err := o.call(ctx, http.MethodPost, depotPath(args[0], "/reset"), nil, &i); err != nil {
				return err
			}
			return o.invited(args[0], i)
		},
	}
	o.flags(cmd)
	return cmd
}

func (a *app) depotJoinToken() *cli.Command {
	o := &operator{app: a}
	var uses int
	var ids string
	cmd := &cli.Command{
		Use:   "join-token --uses N --ids PATTERN",
		Short: "Print a token with which a series of new gateways enrol",
		Args:  cli.NoArgs,
		Run: func(ctx context.Context, _ []string) error {
			if ids == "" || uses < 1 {
				return cli.Usagef("join-token needs --uses N and --ids PATTERN")
			}
			var i identity.Invite
			if err := o.call(ctx, http.MethodPost, "/v1/join-tokens", map[string]any{"uses": uses, "ids": ids}, &i); err != nil {
				return err
			}
			return o.invited(ids, i)
		},
	}
	o.flags(cmd)
	cmd.Flags().IntVar(&uses, "uses", 0, "how many depots may enrol with it: `N`")
	cmd.Flags().StringVar(&ids, "ids", "", "which, as 'hz-*': `PATTERN`")
	return cmd
}

func (a *app) auditCommand() *cli.Command {
	o := &operator{app: a}
	var since string
	cmd := &cli.Command{
		Use:   "audit -c FILE",
		Short: "Show who did what at the centre, and when",
		Args:  cli.NoArgs,
		Run: func(ctx context.Context, _ []string) error {
			var all struct {
				Entries []audit.Entry `json:"entries"`
			}
			if err := o.call(ctx, http.MethodGet, "/v1/audit?since="+url.QueryEscape(since), nil, &all); err != nil {
				return err
			}
			t := &cli.Table{Head: []string{"TIME", "WHO", "FROM", "ACTION", "DEPOT", "RESULT", "DETAIL"}}
			for _, e := range all.Entries {
				if o.json {
					if err := o.JSON(e); err != nil {
						return err
					}
					continue
				}
				t.Add(e.Time.Format(time.RFC3339), e.Who, e.From, e.Action, e.Depot, e.Result, e.Detail)
			}
			if o.json {
				return nil
			}
			return t.Print(o.IO)
		},
	}
	o.flags(cmd)
	cmd.Flags().StringVar(&since, "since", "24h", "how far back, as 24h or 7d, or from when on: `TIME`")
	return cmd
}
