package main

import (
	"context"
	"fmt"
	"os"
	"strconv"

	"scanrelay/agent"
	"scanrelay/agent/cmd/chinese"
	"scanrelay/agent/cmd/cli"
	"scanrelay/agent/cmd/saved"
	"scanrelay/agent/intake/link"
	"scanrelay/agent/intake/mapping"
	"scanrelay/agent/intake/probe"
	"scanrelay/agent/intake/sparkplug"
	"scanrelay/agent/scan"
	"scanrelay/configs"
)

// checker are the flags of check.
type checker struct {
	*app
	config, role, payload, topic string
	json, broker, reveal, fields bool
}

func (a *app) checkCommand() *cli.Command {
	c := &checker{app: a}
	cmd := &cli.Command{
		Use:   "check -c FILE",
		Short: "Say what is wrong with a configuration, or what a payload becomes",
		Long:  "Check a configuration: every problem in one run, each as file:line: key: what is\nwrong. With --payload and --topic: show what a device's message becomes, without\npublishing anything; of a folder that listen --save wrote, all of them, without\n--topic. With --broker: what the external broker does not promise.",
		Args:  cli.NoArgs,
		Run:   func(ctx context.Context, _ []string) error { return c.run(ctx) },
	}
	f := cmd.Flags()
	f.StringVarP(&c.config, "config", "c", defaultConfig, "the configuration `FILE`")
	f.StringVar(&c.role, "role", "", "whose configuration it is: agent or central; unless given, the file tells")
	f.StringVar(&c.payload, "payload", "", "a `FILE` with one message of a device, or a folder of such; - reads one from stdin")
	f.StringVar(&c.topic, "topic", "", "the `TOPIC` on which it comes")
	f.BoolVar(&c.broker, "broker", false, "try the external broker: what it promises, and what cannot be known from outside")
	f.BoolVar(&c.fields, "help-fields", false, "list the fields that a source maps, and WeChat's action codes with their meanings")
	f.BoolVar(&c.json, "json", false, "print JSON (with --payload or --broker)")
	f.BoolVar(&c.reveal, "reveal", false, "show personal data unmasked (with --payload)")
	return cmd
}

func (c *checker) run(ctx context.Context) error {
	if c.fields {
		return c.helpFields()
	}
	info, err := os.Stat(c.payload)
	folder := err == nil && info.IsDir()
	if c.payload == "" && c.topic != "" || c.payload != "" && c.topic == "" && !folder {
		return cli.Usagef("--payload and --topic belong together")
	}
	role := configs.Role(c.role)
	switch role {
	case configs.RoleAgent, configs.RoleCentral:
	case "":
		var problems configs.Problems
		if role, problems = configs.DetectRole(c.config); problems.Failed() {
			return c.report(problems)
		}
	default:
		return cli.Usagef("--role must be agent or central, not %q", c.role)
	}
	if role == configs.RoleCentral {
		if c.payload != "" {
			return cli.Usagef("--payload needs an agent's configuration; %s is a centre's", c.config)
		}
		_, problems := configs.CheckCentral(c.config, c.Env)
		return c.finish(role, problems)
	}
	if c.payload == "" && !c.broker {
		_, problems := configs.CheckAgent(c.config, c.Env)
		return c.finish(role, problems)
	}
	cfg, problems := configs.LoadAgent(c.config, c.Env)
	switch {
	case problems.Failed():
		return c.report(problems)
	case folder:
		return c.explainAll(mapperOf(cfg, nil))
	case c.payload != "":
		return c.explain(mapperOf(cfg, nil))
	default:
		return c.probe(ctx, cfg, mapperOf(cfg, nil))
	}
}

// probe tries each external broker. It fails when one of them loses scans.
func (c *checker) probe(ctx context.Context, cfg *configs.Agent, m *mapping.Mapper) error {
	if cfg.MQTT.IsEmbedded() {
		_, err := fmt.Fprintln(c.Out, c.Say("mqtt.broker is embedded: an acknowledgement means that the scan is on disk; there is nothing to try", "mqtt.broker 是内置的(embedded):有应答就表示扫描已在盘上,没有什么要测试"))
		return err
	}
	sc := agent.Brokers(cfg)
	sc.ClientID += "-check"
	risky := 0
	for _, broker := range sc.Brokers {
		list := probe.Run(ctx, sc, broker, m)
		if probe.AtRisk(list) {
			risky++
		}
		if c.json {
			if err := c.JSON(map[string]any{"broker": link.Redacted(broker), "findings": list}); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintln(c.Out, link.Redacted(broker))
		t := &cli.Table{Head: []string{c.Say("  WHAT", "  项目"), c.Say("VERDICT", "结论"), c.Say("WHY", "说明")}}
		for _, f := range list {
			t.Add("  "+chinese.Reason(c.IO, f.What), chinese.Reason(c.IO, f.Result), chinese.Reason(c.IO, f.Text))
		}
		if err := t.Print(c.IO); err != nil {
			return err
		}
	}
	if risky > 0 {
		return fmt.Errorf("%d of %d brokers do not promise what scans need", risky, len(sc.Brokers))
	}
	return nil
}

// mapperOf returns what maps messages as the agent will.
func mapperOf(cfg *configs.Agent, births *sparkplug.Births) *mapping.Mapper {
	rules, _ := mapping.Compile(cfg.Mapping()) // loading it has said what is wrong
	return mapping.New(rules, nil, births)
}

func (c *checker) finish(role configs.Role, problems configs.Problems) error {
	if problems.Failed() {
		return c.report(problems)
	}
	for _, p := range problems {
		fmt.Fprintln(c.Out, chinese.Problem(c.IO, p))
	}
	_, err := fmt.Fprintf(c.Out, c.Say("%s: ok (%s)\n", "%s:正常(%s)\n"), c.config, role)
	return err
}

// report prints the problems; how many they are goes to stderr.
func (c *checker) report(problems configs.Problems) error {
	for _, p := range problems {
		fmt.Fprintln(c.Out, chinese.Problem(c.IO, p))
	}
	n := len(problems.Errors())
	if n == 1 {
		return fmt.Errorf(c.Say("%s has 1 error", "%s 有 1 处错误"), c.config)
	}
	return fmt.Errorf(c.Say("%s has %d errors", "%s 有 %d 处错误"), c.config, n)
}

// explain shows what a payload becomes. It fails when something in it could not
// be understood.
func (c *checker) explain(m *mapping.Mapper) error {
	payload, err := c.read()
	if err != nil {
		return err
	}
	e := m.Explain(c.topic, payload, mapping.Info{}, c.reveal)
	if c.json {
		err = c.JSON(explanation(e))
	} else {
		err = c.explainText(e)
	}
	if err == nil && len(e.Batch.Rejects) > 0 {
		return fmt.Errorf(c.Say("%d of it would be rejected", "其中 %d 条会被拒绝"), len(e.Batch.Rejects))
	}
	return err
}

func (c *checker) read() ([]byte, error) {
	if c.payload == "-" {
		return saved.From(c.In)
	}
	return saved.File(c.payload)
}

// tried explains a message. A birth is taken to heart, as the agent does.
func tried(m *mapping.Mapper, topic string, payload []byte, info mapping.Info, reveal bool) *mapping.Explanation {
	e := m.Explain(topic, payload, info, reveal)
	if e.Decoder == "sparkplug" {
		m.Map(topic, payload, info)
	}
	return e
}

// explainAll shows what the messages of a folder become, then what all of them come to.
func (c *checker) explainAll(m *mapping.Mapper) error {
	messages, events, rejected, ignored, untaken := 0, 0, 0, 0, 0
	err := saved.Read(c.payload, c.topic, func(s saved.Message, payload []byte) (err error) {
		e := tried(m, s.Topic, payload, mapping.Info{DUP: s.DUP, Retained: s.Retained, ReceivedAt: s.ReceivedAt, Size: s.Size}, c.reveal)
		messages, events, rejected, ignored = messages+1, events+len(e.Batch.Events), rejected+len(e.Batch.Rejects), ignored+e.Batch.Ignored
		if e.Source < 0 {
			untaken++
		}
		if !c.reveal {
			e.Topic = scan.MaskPayload(e.Topic)
		}
		if c.json {
			return c.JSON(struct {
				File string `json:"file"`
				explained
			}{s.File, explanation(e)})
		}
		fmt.Fprintf(c.Out, "%s: ", cli.Visible(s.File))
		if err = c.explainText(e); err == nil {
			_, err = fmt.Fprintln(c.Out)
		}
		return err
	})
	if err == nil && !c.json {
		_, err = fmt.Fprintf(c.Out, c.Say("%d messages: %d events, %d rejected, %d ignored; %d on topics of no source\n", "%d 条报文:%d 个事件,%d 条拒绝,%d 条忽略;%d 条的主题不属于任何来源\n"), messages, events, rejected, ignored, untaken)
	}
	switch {
	case err != nil:
		return err
	case messages == 0:
		return fmt.Errorf("%s holds no message", c.payload)
	case rejected > 0:
		return fmt.Errorf(c.Say("%d of it would be rejected", "其中 %d 条会被拒绝"), rejected)
	}
	return nil
}

// helpFields lists what a source maps, and WeChat's codes.
func (c *checker) helpFields() error {
	t := &cli.Table{Head: []string{c.Say("FIELD", "字段"), c.Say("WHAT", "说明")}}
	for _, f := range mapping.Fields() {
		t.Add(f.Name, c.Say(f.English, f.Chinese))
	}
	codes := &cli.Table{Head: []string{"ACTION_TYPE", c.Say("WHAT", "说明"), c.Say("中文", "英文")}}
	for _, a := range scan.ActionTypes() {
		codes.Add(strconv.Itoa(int(a)), c.Say(a.English(), a.Chinese()), c.Say(a.Chinese(), a.English()))
	}
	if err := t.Print(c.IO); err != nil {
		return err
	}
	fmt.Fprintln(c.Out)
	return codes.Print(c.IO)
}

func (c *checker) explainText(e *mapping.Explanation) error {
	if e.Source < 0 {
		_, err := fmt.Fprintf(c.Out, c.Say("topic %s: no source matches; the message is acknowledged, not stored, and counted as ignored\n", "主题 %s:没有来源匹配;报文会被确认,不保存,计为忽略\n"), cli.Visible(e.Topic))
		return err
	}
	fmt.Fprintf(c.Out, c.Say("topic %s: sources[%d] (%s, decoder %s)\n", "主题 %s:sources[%d](%s,解码器 %s)\n"), cli.Visible(e.Topic), e.Source, e.Filter, e.Decoder)
	for _, r := range e.Reads {
		if err := c.read1(r); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(c.Out, c.Say("%d events, %d rejected, %d ignored\n", "%d 个事件,%d 条拒绝,%d 条忽略\n"), len(e.Batch.Events), len(e.Batch.Rejects), e.Batch.Ignored)
	return err
}

// outcomes are what a read can become, in Chinese.
var outcomes = map[string]string{"event": "事件", "ignored": "忽略", "rejected": "拒绝"}

// read1 shows one read: where each field came from and what became of it.
func (c *checker) read1(r mapping.ReadExplanation) error {
	name := c.Say("message", "报文")
	if r.Index >= 0 {
		name = c.Say("read ", "扫描 ") + strconv.Itoa(r.Index)
	}
	outcome := r.Outcome
	if word := outcomes[outcome]; word != "" {
		outcome = c.Say(outcome, word)
	}
	if r.Reason != "" {
		outcome += ": " + chinese.Reason(c.IO, r.Reason)
	}
	fmt.Fprintf(c.Out, "%s: %s\n", name, cli.Visible(outcome))
	t := &cli.Table{Head: []string{c.Say("  FIELD", "  字段"), c.Say("VALUE", "值"), c.Say("FROM", "来自"), c.Say("SENT", "原文")}}
	for _, f := range r.Fields {
		t.Add("  "+f.Field, f.Value, cli.Dash(chinese.Reason(c.IO, f.From)), cli.Dash(f.Sent))
	}
	if ev := r.Event; ev != nil {
		t.Add("  = event_id", ev.EventID, cli.Word(ev.Marks.Has(scan.MarkDerivedID), c.Say("derived", "推算"), c.Say("sent", "设备所发")), "-")
		t.Add("  = action_time", cli.Moment(ev.ActionTime), cli.Word(ev.Marks.Has(scan.MarkClock), c.Say("time of arrival", "到达时间"), c.Say("sent", "设备所发")), "-")
	}
	if len(t.Rows) == 0 {
		return nil
	}
	return t.Print(c.IO)
}

// explained is check --payload --json.
type explained struct {
	*mapping.Explanation
	Events   int `json:"events"`
	Rejected int `json:"rejected"`
	Ignored  int `json:"ignored"`
}

func explanation(e *mapping.Explanation) explained {
	return explained{e, len(e.Batch.Events), len(e.Batch.Rejects), e.Batch.Ignored}
}
