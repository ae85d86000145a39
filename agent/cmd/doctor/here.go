package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"scanrelay/agent/clock"
	"scanrelay/agent/cmd/chinese"
	"scanrelay/agent/cmd/cli"
	"scanrelay/agent/control"
	"scanrelay/agent/update/follow"
	"scanrelay/agent/update/record"
	"scanrelay/configs"
	"scanrelay/store/durable"
)

// configuration reads it as the agent does.
func (e *examination) configuration() finding {
	cfg, problems := configs.CheckAgent(e.file, e.Env)
	var errs, warnings []string
	for _, p := range problems {
		if p.Warning {
			warnings = append(warnings, chinese.Problem(e.IO, p))
		} else {
			errs = append(errs, chinese.Problem(e.IO, p))
		}
	}
	switch {
	case len(errs) > 0:
		return finding{
			Grade: fail, Text: e.Say(fmt.Sprintf("%d errors in %s", len(errs), e.file), fmt.Sprintf("%s 有 %d 处错误", e.file, len(errs))),
			Advice: strings.Join(append(errs, warnings...), "\n"),
		}
	}
	e.cfg = cfg
	if len(warnings) > 0 {
		return finding{
			Grade: warn, Text: e.Say("it works, but look", "可用,但请查看"),
			Advice: strings.Join(warnings, "\n"),
		}
	}
	return finding{Grade: ok, Text: e.file}
}

// agent asks the running agent, or opens its store.
func (e *examination) agent(ctx context.Context) finding {
	ctx, cancel := context.WithTimeout(ctx, tryFor)
	defer cancel()
	v, err := control.Open(ctx, e.cfg.DataDir, e.cfg.Depot.ID, e.version)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return finding{
			Grade: fail, Text: err.Error(),
			Advice: e.Say("run it as root, or as a member of the group scanrelay", "请用 root 或 scanrelay 组成员运行"),
		}
	case errors.Is(err, fs.ErrNotExist):
		return finding{Grade: warn, Text: e.Say("it has not run yet", "尚未运行过"), Advice: "systemctl start scanrelay-agent"}
	case err != nil:
		return finding{Grade: fail, Text: err.Error(), Advice: e.Say("systemctl status scanrelay-agent says more", "详见 systemctl status scanrelay-agent")}
	}
	e.view = v
	if !v.Running() {
		return finding{
			Grade: warn, Text: e.Say("it is not running", "未运行"),
			Advice: "systemctl start scanrelay-agent",
		}
	}
	s, err := v.Status(ctx)
	if err != nil {
		return finding{
			Grade: fail, Text: err.Error(),
			Advice: e.Say("it runs and does not answer: systemctl status scanrelay-agent says more", "已运行但无应答,详见 systemctl status scanrelay-agent"),
		}
	}
	e.status = &s
	up := (time.Duration(s.UptimeSeconds) * time.Second).String()
	f := finding{Grade: ok, Text: e.Say("running for "+up+", version "+s.Version, "已运行 "+up+",版本 "+s.Version)}
	if s.Version != e.version {
		f.Grade = warn
		f.Advice = e.Say("this program is version "+e.version+": restart the agent to run it", "本程序版本为 "+e.version+",请重启 agent")
	}
	return f
}

// clock asks whether anybody has confirmed the time.
func (e *examination) clock() finding {
	now := time.Now().Format("2006-01-02 15:04:05 -07:00")
	if e.status != nil && e.status.Clock == control.ClockOK || e.status == nil && clock.New(clock.Options{}).Believable() {
		return finding{Grade: ok, Text: now}
	}
	return finding{
		Grade: warn, Text: e.Say("nobody has confirmed that it is "+now, "时间未经确认:"+now),
		Advice: e.Say("scans are taken and wait until the centre or NTP tells the time: reach the centre, or let an NTP client run",
			"扫描照收,待中心或 NTP 确认时间后推送:请连上中心,或启用 NTP"),
	}
}

// Below these the disk is worth a look.
const (
	lowRoom  = 256 << 20
	slowSync = 500 * time.Millisecond
)

// disk writes as the store does, and asks the medium how worn it is.
func (e *examination) disk() finding {
	dir := e.cfg.DataDir
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return finding{
			Grade: fail, Text: fmt.Sprintf("data_dir %s: %v", dir, err),
			Advice: e.Say("make the folder, owned by the service's user", "请建立该目录,属主为服务用户"),
		}
	}
	if st.Flags&unix.ST_RDONLY != 0 {
		return finding{
			Grade: fail, Text: e.Say(dir+" is read only", dir+" 为只读"),
			Advice: e.Say("a card that is worn out becomes read only: dmesg says more; replace it", "存储卡磨损后会变为只读:详见 dmesg;请更换"),
		}
	}
	free, whole := durable.Free(dir), int64(st.Blocks)*int64(st.Bsize)
	slowest, err := e.syncs(dir)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return finding{
			Grade: warn, Text: err.Error(),
			Advice: e.Say("to try how it writes, run this as root", "如需测试写入,请用 root 运行"),
		}
	case err != nil:
		return finding{Grade: fail, Text: err.Error(), Advice: e.Say("make room; if there is room, dmesg says more", "请清理磁盘;若有空间,详见 dmesg")}
	}
	f := finding{Grade: ok, Text: e.Say(
		fmt.Sprintf("%s of %s free, fsync within %v", cli.Size(free), cli.Size(whole), slowest),
		fmt.Sprintf("剩余 %s / %s,fsync 最慢 %v", cli.Size(free), cli.Size(whole), slowest))}
	wear, worn := wearOf(dir)
	if wear != "" {
		f.Text += ", " + wear
	}
	switch {
	case worn:
		f.Grade, f.Advice = warn, e.Say("the medium is near its end: replace it", "存储介质接近寿命终点,请更换")
	case free < lowRoom:
		f.Grade, f.Advice = warn, e.Say("make room: the store may want up to "+cli.Size(int64(e.cfg.Store.MaxSize)), "请清理磁盘:存储最多需要 "+cli.Size(int64(e.cfg.Store.MaxSize)))
	case slowest > slowSync:
		f.Grade, f.Advice = warn, e.Say("scans are acknowledged slowly: a better card helps", "扫描应答变慢:请换更好的存储卡")
	}
	return f
}

// syncs writes a little, as often as the store does in a second, and returns how
// long the slowest fsync took.
func (e *examination) syncs(dir string) (slowest time.Duration, err error) {
	f, err := os.CreateTemp(dir, "doctor-*"+durable.TempSuffix) // what a kill leaves the agent removes
	if err != nil {
		return 0, err
	}
	defer func() {
		err = errors.Join(err, f.Close(), os.Remove(f.Name()))
	}()
	for range 8 {
		began := time.Now()
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
		slowest = max(slowest, time.Since(began))
	}
	return slowest.Round(time.Millisecond / 10), nil
}

// wearOf tells what is written to the medium of a folder a day since the boot and,
// of an eMMC, how much of its life is used; worn: it is near its end.
func wearOf(dir string) (text string, worn bool) {
	written, used := durable.Wear(dir)
	if written > 0 {
		text = cli.Size(written) + "/d"
	}
	if used > 0 {
		text = strings.TrimPrefix(fmt.Sprintf("%s, eMMC ≤ %d %%", text, used), ", ")
	}
	return text, used >= 90
}

// store says what the running agent, or the files, tell of it.
func (e *examination) store(ctx context.Context) finding {
	s := e.status
	if s == nil {
		offline, err := e.view.Status(ctx)
		if err != nil {
			return finding{Grade: fail, Text: err.Error(), Advice: "scanrelay store check"}
		}
		s = &offline
	}
	waiting := s.Pending.Unsynced + s.Pending.AwaitingWaybill + s.Pending.ToPush
	f := finding{Grade: ok, Text: e.Say(
		fmt.Sprintf("%s, %d scans wait, %d dead letters", cli.Size(s.Store.FileBytes), waiting, s.Outcome.Dead),
		fmt.Sprintf("%s,%d 条等待,%d 条死信", cli.Size(s.Store.FileBytes), waiting, s.Outcome.Dead))}
	switch {
	case s.Store.Damaged != "":
		f.Grade, f.Text = fail, f.Text+"; "+s.Store.Damaged
		f.Advice = e.Say("scanrelay store check names what is lost; replace the card", "scanrelay store check 会列出丢失内容;请更换存储卡")
	case s.Store.Full:
		f.Grade, f.Advice = fail, e.Say("it is full, and scans are not taken: make room, or reach the centre", "存储已满,不再接收:请清理磁盘或连上中心")
	case s.Outcome.Dead > 0:
		f.Grade, f.Advice = warn, "scanrelay deadletter list"
	}
	return f
}

// update says how the versions of this gateway stand.
func (e *examination) update(root record.Root, own record.Own) finding {
	s := follow.Look(root, own, e.version, time.Now())
	f := finding{Grade: ok, Text: e.Say(fmt.Sprintf("version %s, %s", s.Version, s.State), fmt.Sprintf("版本 %s,%s", s.Version, s.State))}
	if v := s.Verdict; v != nil {
		f.Text += "; " + cli.Because(v.Version+" "+v.Result, v.Reason)
	}
	switch {
	case len(s.Problems) > 0:
		f.Grade, f.Text = warn, f.Text+"; "+strings.Join(s.Problems, "; ")
		f.Advice = e.Say("another version runs in its place: install a newer release, or the package anew", "已改用其他版本运行:请安装新版本或重新安装软件包")
	case s.State == "rolled_back":
		f.Grade, f.Advice = warn, e.Say("nothing: the version before runs; tell who made the release", "无需处理:已恢复到上一版本,请告知发布人员")
	}
	return f
}
