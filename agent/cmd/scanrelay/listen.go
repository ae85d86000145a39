package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"unicode/utf8"

	"scanrelay/agent"
	"scanrelay/agent/cmd/cli"
	"scanrelay/agent/cmd/saved"
	"scanrelay/agent/control"
	"scanrelay/agent/intake"
	"scanrelay/agent/intake/decode"
	"scanrelay/agent/intake/mapping"
	"scanrelay/agent/intake/probe"
	"scanrelay/agent/intake/sparkplug"
	"scanrelay/agent/intake/topic"
	"scanrelay/agent/scan"
	"scanrelay/configs"
)

// ear are the flags of listen.
type ear struct {
	*checker
	filter string
	count  int
	save   string
	folder *saved.Folder // nil: nothing is saved
	mapper *mapping.Mapper
}

func (a *app) listenCommand() *cli.Command {
	l := &ear{checker: &checker{app: a}}
	cmd := &cli.Command{
		Use:   "listen -c FILE",
		Short: "Show live what devices publish and what it becomes, storing nothing",
		Long: "Show live what devices publish and what it becomes with the sources of FILE, which\n" +
			"need not be those that the agent uses: nothing is stored, and nothing is taken\n" +
			"away from the agent. With mqtt.broker: embedded the running agent is asked; else\n" +
			"listen has a session of its own at the broker.",
		Args: cli.NoArgs,
		Run:  func(ctx context.Context, _ []string) error { return l.listen(ctx) },
	}
	cmd.Flags().StringVarP(&l.config, "config", "c", defaultConfig, "the agent's configuration `FILE`")
	cmd.Flags().BoolVar(&l.json, "json", false, "print JSON")
	cmd.Flags().BoolVar(&l.reveal, "reveal", false, "show personal data unmasked")
	cmd.Flags().StringVar(&l.filter, "topic", "", "only topics that this `FILTER` matches, also ones of no source; unless given, those of the sources")
	cmd.Flags().IntVar(&l.count, "count", 0, "end after `N` messages; 0: at Ctrl-C")
	cmd.Flags().StringVar(&l.save, "save", "", "also write each message to a folder `DIR`, its bytes as they came, unmasked; check --payload DIR tries them")
	return cmd
}

var errEnough = errors.New("that was enough")

func (l *ear) listen(ctx context.Context) error {
	cfg, problems := configs.LoadAgent(l.config, l.Env)
	if err := l.problems(problems); err != nil {
		return err
	}
	var births map[string]sparkplug.Birth
	if agent.BirthsFile(cfg.DataDir).Peek(&births) != nil {
		births = nil // they are waited for
	}
	l.mapper = mapperOf(cfg, sparkplug.NewBirths(births))
	filters := []string{l.filter}
	if l.filter == "" {
		filters = nil
		for _, s := range cfg.Sources {
			filters = append(filters, s.Topic)
		}
	}
	if l.save != "" {
		var err error
		if l.folder, err = saved.Create(l.save); err != nil {
			return err
		}
		defer l.folder.Close()
	}
	err := l.hear(ctx, cfg, filters)
	if errors.Is(err, errEnough) || ctx.Err() != nil {
		return nil
	}
	return err
}

// hear shows messages until ctx ends or there were enough.
func (l *ear) hear(ctx context.Context, cfg *configs.Agent, filters []string) error {
	if cfg.MQTT.IsEmbedded() {
		matches, err := topic.Matcher(filters)
		if err != nil {
			return cli.Usagef("--topic: %s", err)
		}
		c, err := control.Dial(ctx, cfg.DataDir)
		if err != nil {
			return err
		}
		defer c.Close()
		return c.Listen(ctx, func() { l.begun(l.Say("the agent's broker", "网关自己的 MQTT 服务")) }, func(line json.RawMessage) error {
			var h intake.Message
			if err := json.Unmarshal(line, &h); err != nil {
				return err
			}
			if !matches(h.Topic) {
				return nil
			}
			return l.show(h)
		})
	}
	sc := agent.Brokers(cfg)
	sc.ClientID += fmt.Sprintf("-listen-%04x", rand.Uint32()&0xffff)
	return probe.Listen(ctx, sc, filters, l.begun, l.show)
}

// begun tells people that it listens.
func (l *ear) begun(where string) {
	fmt.Fprintf(l.Err, l.Say("listening at %s; nothing is stored; Ctrl-C ends it\n", "正在 %s 监听,什么都不存;按 Ctrl-C 结束\n"), where)
	if l.folder != nil {
		fmt.Fprintf(l.Err, l.Say("each message is written to %s as it comes: it may say who lives where; delete it when you are done\n", "每条报文原样写入 %s:里面可能有个人信息,用完请删除\n"), l.save)
	}
}

// show shows one message. A birth is taken to heart, as the agent does.
func (l *ear) show(h intake.Message) error {
	info := h.Info()
	if l.folder != nil {
		if err := l.folder.Put(saved.Message{Topic: h.Topic, ReceivedAt: h.ReceivedAt, DUP: h.DUP, Retained: h.Retained, Size: h.Size}, h.Payload); err != nil {
			return err
		}
	}
	e := tried(l.mapper, h.Topic, h.Payload, info, l.reveal)
	if !l.reveal { // whatever is shown of it from here on
		h.Topic, e.Topic = scan.MaskPayload(h.Topic), scan.MaskPayload(h.Topic)
	}
	var err error
	if l.json {
		err = l.showJSON(h, e)
	} else {
		err = l.showText(h, e)
	}
	if l.count--; err == nil && l.count == 0 {
		err = errEnough
	}
	return err
}

func (l *ear) showText(h intake.Message, e *mapping.Explanation) error {
	if h.Missed > 0 {
		fmt.Fprintf(l.Out, l.Say("(%d messages came too fast to be shown)\n", "(%d 条报文来得太快,没有显示)\n"), h.Missed)
	}
	flags := cli.Word(h.Retained, " retained", "") + cli.Word(h.DUP, " dup", "")
	if e.Decoder != "sparkplug" && !utf8.Valid(h.Payload) {
		_, gbk := decode.GBK(h.Payload)
		flags += cli.Word(gbk, l.Say(" (not UTF-8; it may be GBK)", "(不是 UTF-8,可能是 GBK)"), l.Say(" (not UTF-8)", "(不是 UTF-8)"))
	}
	fmt.Fprintf(l.Out, l.Say("%s %d bytes%s: %s\n", "%s %d 字节%s:%s\n"), h.ReceivedAt.Format("15:04:05.000"), max(int64(len(h.Payload)), h.Size), flags, l.payloadText(h.Payload, 2000))
	if err := l.explainText(e); err != nil {
		return err
	}
	_, err := fmt.Fprintln(l.Out)
	return err
}

// payloadText is a payload as people may see it, at most so many bytes of it.
func (l *ear) payloadText(payload []byte, most int) string {
	text, more := string(payload), ""
	if !l.reveal {
		text = scan.MaskPayload(text)
	}
	if len(text) > most {
		text, more = text[:most], "…"
	}
	return plainly(text) + more
}

// plainly is a payload with its framing: control characters and bytes that are no
// UTF-8 as Go writes them. The blanks of JSON that is laid out are left out.
func plainly(text string) string {
	laidOut := strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[")
	var b strings.Builder
	for i, r := range text {
		switch {
		case laidOut && strings.ContainsRune("\r\n\t", r):
			b.WriteByte(' ')
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], "\ufffd"):
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case cli.Visible(string(r)) != string(r):
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func (l *ear) showJSON(h intake.Message, e *mapping.Explanation) error {
	if !l.reveal {
		h.Payload = []byte(scan.MaskPayload(string(h.Payload)))
	}
	return l.JSON(struct {
		intake.Message
		Becomes explained `json:"becomes"`
	}{h, explanation(e)})
}
