package look

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"scanrelay/agent/cmd/chinese"
	"scanrelay/agent/cmd/cli"
	"scanrelay/agent/control"
	"scanrelay/uplink/syncapi/health"
)

func (s *shared) statusCommand() *cli.Command {
	l := s.looker()
	var watch bool
	var every time.Duration
	cmd := &cli.Command{
		Use:   "status",
		Short: "Show what the agent is doing now",
		Long:  "Show what the agent is doing now, or, if it does not run, what its store holds: then\nthe exit code is 1. With --watch the picture is kept until Ctrl-C.",
		Args:  cli.NoArgs,
		Run: func(ctx context.Context, _ []string) error {
			switch {
			case !watch:
				return l.status(ctx)
			case every < minEvery:
				return cli.Usagef("--every must be at least %v", minEvery)
			}
			return l.watch(ctx, every)
		},
	}
	l.flags(cmd, false)
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "keep the picture until Ctrl-C")
	cmd.Flags().DurationVar(&every, "every", 2*time.Second, "how `OFTEN` it is drawn anew (with --watch)")
	return cmd
}

const minEvery = 200 * time.Millisecond

func (l *looker) status(ctx context.Context) error {
	cfg, err := l.agentOf()
	if err != nil {
		return err
	}
	return l.look(ctx, func(v control.View) error {
		s, err := v.Status(ctx)
		switch {
		case err != nil:
			return err
		case l.json:
			err = l.JSON(s)
		default:
			err = l.printStatus(s, v.Running(), cfg.MQTT.IsEmbedded())
		}
		if err == nil && !v.Running() {
			err = cli.ErrShown // what is wrong is on the picture
		}
		return err
	})
}

// watch shows the status again and again. What is wrong now may be mended by the next time.
func (l *looker) watch(ctx context.Context, every time.Duration) error {
	screen := l.Out
	defer func() { l.Out = screen }()
	for {
		var picture bytes.Buffer
		l.Out = &picture
		if l.Terminal && !l.json {
			picture.WriteString("\x1b[H\x1b[J") // from the top of an empty screen
		}
		err := l.status(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil || errors.Is(err, cli.ErrShown):
		case l.json:
			_ = l.JSON(map[string]string{"error": err.Error()}) // into memory
		default:
			fmt.Fprintln(&picture, err)
		}
		if _, err := screen.Write(picture.Bytes()); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(every):
		}
	}
}

// printStatus is for people: what is wrong and what to do, then what matters first.
func (l *looker) printStatus(s control.Status, running, embedded bool) error {
	for _, kind := range s.Alarms {
		w := health.WordOf(l.Say("en", "zh"), kind)
		if _, err := fmt.Fprintf(l.Out, "%s\t%s\n", l.red(l.Say("ALARM", "告警")), w.What+l.Say("; ", ";")+w.Do); err != nil {
			return err
		}
	}
	t := &cli.Table{Head: []string{"", ""}}
	t.Add(l.Say("depot", "网点"), string(s.Depot))
	if running {
		t.Add(l.Say("agent", "代理"), fmt.Sprintf(l.Say("running for %s, version %s", "已运行 %s,版本 %s"), age(int64(s.UptimeSeconds)), s.Version))
		t.Add(l.Say("scanners", "扫描设备"), cli.Because(l.scanners(s.MQTT, embedded), chinese.Reason(l.IO, s.MQTT.Problem)))
		if s.MQTT.QoS0 > 0 {
			t.Add(l.Say("at risk", "有风险"), fmt.Sprintf(l.Say("%d messages came with QoS 0, %d of them were lost for want of room", "%d 条报文用 QoS 0 发来,其中 %d 条因没有空间丢失"), s.MQTT.QoS0, s.MQTT.Lost))
		}
		last := l.Say("never", "从未")
		if !s.Central.LastSync.IsZero() {
			last = s.Central.LastSync.Local().Format("2006-01-02 15:04:05 -07:00")
		}
		t.Add(l.Say("centre", "中心"), cli.Because(cli.Word(s.Central.Connected, l.Say("connected", "已连接"), l.Say("NOT CONNECTED", "未连接"))+l.Say(", last sync ", ",上次同步 ")+last, chinese.Reason(l.IO, s.Central.Problem)))
		t.Add(l.Say("WeChat", "微信"), cli.Because(l.weChat(s.WeChat.State), chinese.Reason(l.IO, s.WeChat.Reason)))
		t.Add(l.Say("clock", "时钟"), cli.Word(s.Clock == control.ClockOK, l.Say("ok", "正常"), l.Say("UNKNOWN: events wait until it can be believed", "未知:得到确认以前事件等待")))
	} else {
		t.Add(l.Say("agent", "代理"), l.Say("NOT RUNNING; this is what its store holds", "没有运行;以下是它的存储里的内容"))
	}
	t.Add(l.Say("intake", "接收"), fmt.Sprintf(l.Say("%d received, %d duplicate, %d ignored, %d rejected", "%d 收到,%d 重复,%d 忽略,%d 未识别"),
		s.Intake.Received, s.Intake.Duplicate, s.Intake.Ignored, s.Intake.Rejected))
	if n := s.Intake.Forgotten; n > 0 {
		t.Add(l.Say("quarantine", "隔离区"), fmt.Sprintf(l.Say("%d older messages made way for newer ones (scanrelay quarantine list)", "%d 条旧报文已为新报文腾出空间(scanrelay quarantine list)"), n))
	}
	t.Add(l.Say("pending", "等待"), fmt.Sprintf(l.Say("%d unsynced, %d awaiting waybill data, %d to push; the oldest for %s", "%d 待同步,%d 等运单资料,%d 待推送;最早的已等 %s"),
		s.Pending.Unsynced, s.Pending.AwaitingWaybill, s.Pending.ToPush, age(s.Pending.OldestSeconds)))
	t.Add(l.Say("pushed", "已推送"), strconv.FormatUint(s.Outcome.Pushed, 10))
	t.Add(l.Say("not pushed", "未推送"), fmt.Sprintf(l.Say("%d not bound, %d superseded, %d expired, %d muted, %d discarded", "%d 未绑定,%d 已被取代,%d 过期,%d 不推送,%d 丢弃"),
		s.Outcome.NotBound, s.Outcome.Superseded, s.Outcome.Expired, s.Outcome.Muted, s.Outcome.Discarded))
	dead := strconv.FormatUint(s.Outcome.Dead, 10)
	if s.Outcome.Dead > 0 {
		dead += "  (scanrelay deadletter list)"
	}
	if s.Store.Crowded {
		dead += fmt.Sprintf(l.Say("; they take %s of the store: RETRY OR DISCARD them, from a quarter on the oldest are discarded (no_room)", ";占用存储 %s:请重试或丢弃,超过四分之一时最早的会被丢弃(no_room)"), cli.Size(s.Store.DeadLetterBytes))
	}
	t.Add(l.Say("dead letters", "死信"), dead)
	if n := s.Store.NoRoom; n > 0 {
		t.Add(l.Say("no room", "空间不足"), fmt.Sprintf(l.Say("%d dead letters were discarded, since all of them took a quarter of the store", "%d 条死信被丢弃,因为全部死信占了存储的四分之一"), n))
	}
	t.Add(l.Say("store", "存储"), l.bar(s.Store.LiveBytes, s.Store.MaxBytes)+fmt.Sprintf(l.Say("%s on disk, about %s in use", "盘上 %s,约用 %s"), cli.Size(s.Store.FileBytes), cli.Size(s.Store.LiveBytes))+
		cli.Word(s.Store.Full, l.Say("; FULL: scans are not acknowledged until there is room", ";已满:有空间以前不确认扫描"), ""))
	if n := s.Store.UnreservedBytes; n > 0 {
		t.Add(l.Say("not reserved", "未预留"), fmt.Sprintf(l.Say("%s that outcomes need: this file system cannot keep it from other programs", "结果记录需要的 %s:这个文件系统不能为它保留"), cli.Size(n)))
	}
	if s.Store.Damaged != "" {
		t.Add(l.Say("DAMAGE", "损坏"), chinese.Reason(l.IO, s.Store.Damaged))
	}
	return t.Print(l.IO)
}

// red colours a text on a terminal that may have colours (no-color.org).
func (l *looker) red(text string) string {
	if !l.Terminal || slices.ContainsFunc(l.Env, func(e string) bool { return strings.HasPrefix(e, "NO_COLOR=") && e != "NO_COLOR=" }) {
		return text
	}
	return "\x1b[1;31m" + text + "\x1b[0m"
}

// bar draws on a terminal how much of the store is in use.
func (l *looker) bar(used, of int64) string {
	const width = 20
	if !l.Terminal || of <= 0 {
		return ""
	}
	n := int(min(width, (used*width+of-1)/of))
	return strings.Repeat("█", n) + strings.Repeat("░", width-n) + fmt.Sprintf(" %d %%  ", min(100, used*100/of))
}

// scanners says what is known of them: an external broker tells of none.
func (l *looker) scanners(m control.MQTT, embedded bool) string {
	switch {
	case !embedded:
		return cli.Word(m.Connected, l.Say("subscribed at the MQTT broker", "已在 MQTT 服务上订阅"), l.Say("NOT CONNECTED to the MQTT broker", "没有连上 MQTT 服务"))
	case !m.Connected:
		return l.Say("NOT LISTENING", "没有监听")
	case m.Clients == 0:
		return l.Say("listening, none is connected", "正在监听,没有设备连接")
	}
	return fmt.Sprintf(l.Say("%d connected", "已连接 %d 台"), m.Clients)
}

// weChat is the state that the relay names, in words.
func (l *looker) weChat(state string) string {
	if !l.Chinese() {
		return state
	}
	if text, ok := map[string]string{"ok": "正常", "throttled": "限速", "blocked": "受阻", "no_token": "没有令牌", "unreachable": "连不上"}[state]; ok {
		return text + " (" + state + ")"
	}
	return state
}

// age shows seconds as a duration that reads well.
func age(seconds int64) string { return (time.Duration(seconds) * time.Second).String() }
