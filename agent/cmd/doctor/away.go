package doctor

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"time"

	"scanrelay/agent"
	"scanrelay/agent/cmd/chinese"
	"scanrelay/agent/intake/link"
	"scanrelay/configs/tlsfile"
	"scanrelay/uplink/syncapi"
)

// tryFor is how long one thing is tried; tests shorten it.
var tryFor = 15 * time.Second

// reached is how far a call came.
type reached struct {
	address string        // where it was connected to
	step    string        // what failed: name, TCP, TLS, HTTP
	date    time.Time     // the other side's clock; zero: it says none
	half    time.Duration // by how much that may be off
}

// reach makes one HTTP call without a credential and tells how far it came. Any
// answer is one.
func reach(ctx context.Context, address string, files tlsfile.Client) (r reached, err error) {
	ctx, cancel := context.WithTimeout(ctx, tryFor)
	defer cancel()
	conf, err := files.Config()
	if err != nil {
		return reached{step: "TLS"}, err
	}
	var mu sync.Mutex // connections may be tried side by side
	step, to := "name", ""
	comes := func(next, addr string) {
		mu.Lock()
		defer mu.Unlock()
		step, to = next, cmp.Or(addr, to)
	}
	defer func() {
		mu.Lock()
		defer mu.Unlock()
		r.step, r.address = step, to
	}()
	trace := &httptrace.ClientTrace{
		ConnectStart:      func(_, addr string) { comes("TCP", addr) },
		TLSHandshakeStart: func() { comes("TLS", "") },
		GotConn:           func(httptrace.GotConnInfo) { comes("HTTP", "") },
	}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), http.MethodGet, address, http.NoBody)
	if err != nil {
		return r, err
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: conf, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	began := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		var u *url.Error // which would repeat the address
		if errors.As(err, &u) {
			err = u.Err
		}
		return r, err
	}
	defer resp.Body.Close()
	r.half = time.Since(began) / 2
	r.date, _ = http.ParseTime(resp.Header.Get("Date"))
	return r, nil
}

// advice is what to do where a call came as far as this.
func (e *examination) advice(r reached) string {
	switch r.step {
	case "name":
		return e.Say("its name is not found: look at the line and at DNS (resolvectl, /etc/resolv.conf)", "域名解析失败:请检查网络与 DNS")
	case "TCP":
		return e.Say(r.address+" does not answer: look at the line, the firewall, the proxy (HTTPS_PROXY)", r.address+" 无应答:请检查网络、防火墙、代理(HTTPS_PROXY)")
	case "TLS":
		return e.Say("its certificate is not trusted: look at the clock, and at tls.ca_file; a proxy may stand between", "证书不受信任:请检查时钟与 tls.ca_file,中间可能有代理")
	}
	return e.Say("something answers there that speaks no HTTP: look at the address", "对端不是 HTTP 服务:请检查地址")
}

// clockOff is how far the two clocks may differ.
const clockOff = 5 * time.Minute

func (e *examination) centre(ctx context.Context) finding {
	r, err := reach(ctx, strings.TrimSuffix(e.cfg.Central.URL, "/")+"/healthz", e.cfg.Central.TLS)
	if err != nil {
		return finding{Grade: fail, Text: r.step + ": " + err.Error(), Advice: e.advice(r)}
	}
	client, err := syncapi.NewClient(syncapi.Options{URL: e.cfg.Central.URL, TLS: e.cfg.Central.TLS})
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, tryFor)
		defer cancel()
		_, err = client.Nonce(ctx, e.cfg.Depot.ID)
	}
	if err != nil {
		return finding{
			Grade: fail, Text: err.Error(),
			Advice: e.Say("what answers at central.url is no scanrelay centre of this version, or a proxy hides its paths", "central.url 不是本版本的 scanrelay 中心,或代理未放行其路径"),
		}
	}
	off := time.Until(r.date).Round(time.Second)
	f := finding{Grade: ok, Text: e.Say(
		fmt.Sprintf("%s answers, its clock is %v ahead", r.address, off),
		fmt.Sprintf("%s 有应答,对方时钟快 %v", r.address, off))}
	switch {
	case e.status != nil && !e.status.Central.Connected:
		f.Grade, f.Text = fail, f.Text+"; "+chinese.Reason(e.IO, e.status.Central.Problem)
		f.Advice = e.Say("the centre answers, but not this agent: look at what it says above; a credential is mended by scanrelay enrol", "中心有应答,但拒绝本 agent:见上;凭据问题用 scanrelay enrol 处理")
	case !r.date.IsZero() && off.Abs() > clockOff+r.half:
		f.Grade, f.Advice = warn, e.Say("one of the two clocks is wrong: let NTP run here and there", "双方时钟不一致:请两边启用 NTP")
	case e.status == nil:
		f.Text += e.Say("; the credential is tried when the agent runs", ";凭据在 agent 运行时验证")
	}
	return f
}

func (e *examination) wechat(ctx context.Context) finding {
	r, err := reach(ctx, e.cfg.WeChat.BaseURL, tlsfile.Client{})
	if err != nil {
		return finding{Grade: fail, Text: r.step + ": " + err.Error(), Advice: e.advice(r)}
	}
	f := finding{Grade: ok, Text: e.Say(r.address+" answers", r.address+" 有应答")}
	if s := e.status; s != nil && s.WeChat.State != "ok" {
		f.Grade, f.Text = warn, f.Text+"; "+s.WeChat.State+": "+chinese.Reason(e.IO, s.WeChat.Reason)
		f.Advice = map[string]string{
			"no_token":    e.Say("the centre has given no token yet: look at the centre above, and at its fleet page", "中心尚未给出令牌:请看上面的中心状态及其管理页"),
			"blocked":     e.Say("WeChat refuses the account or this address: the backend team must look (IP allow list, quota, account)", "微信拒绝该账号或本机地址:请后台团队检查(IP 白名单、额度、账号)"),
			"throttled":   e.Say("WeChat wants fewer calls: it goes on by itself", "微信限流:会自动恢复"),
			"unreachable": e.Say("the agent does not reach it: look at its log", "agent 连不上微信:请看日志"),
		}[s.WeChat.State]
	}
	return f
}

// broker asks the running agent, else knocks at the external broker, or sees
// whether the embedded one could listen.
func (e *examination) broker(ctx context.Context) finding {
	if s := e.status; s != nil {
		f := finding{Grade: ok, Text: e.Say("connected", "已连接")}
		if e.cfg.MQTT.IsEmbedded() {
			f.Text = e.Say(fmt.Sprintf("listening, %d devices connected", s.MQTT.Clients), fmt.Sprintf("正在监听,已连接 %d 台设备", s.MQTT.Clients))
		}
		switch {
		case !s.MQTT.Connected:
			f = finding{Grade: fail, Text: chinese.Reason(e.IO, s.MQTT.Problem), Advice: e.Say("look at mqtt.broker, user and password; scanrelay check --broker tries it", "请检查 mqtt.broker、用户名和密码;scanrelay check --broker 可测试")}
		case s.MQTT.Problem != "":
			f.Grade, f.Text = warn, chinese.Reason(e.IO, s.MQTT.Problem)
		}
		return f
	}
	if e.cfg.MQTT.IsEmbedded() {
		ln, err := net.Listen("tcp", e.cfg.MQTT.Listen)
		if err != nil {
			return finding{
				Grade: fail, Text: err.Error(),
				Advice: e.Say("another program listens there (ss -ltnp says which): stop it, or change mqtt.listen", "该地址被占用(ss -ltnp 查看):请停止该程序或修改 mqtt.listen"),
			}
		}
		_ = ln.Close()
		return finding{Grade: ok, Text: e.Say(e.cfg.MQTT.Listen+" is free", e.cfg.MQTT.Listen+" 可用")}
	}
	var refused []string
	for _, b := range agent.Brokers(e.cfg).Brokers {
		if err := knock(ctx, b, e.cfg.MQTT.TLS); err != nil {
			refused = append(refused, link.Redacted(b)+": "+err.Error())
		}
	}
	if len(refused) > 0 {
		return finding{
			Grade: fail, Text: strings.Join(refused, "; "),
			Advice: e.Say("look at mqtt.broker and at the line; scanrelay check --broker tries more", "请检查 mqtt.broker 与网络;scanrelay check --broker 可进一步测试"),
		}
	}
	return finding{Grade: ok, Text: e.Say("it answers; scanrelay check --broker tries what it promises", "有应答;scanrelay check --broker 可测试其承诺")}
}

// knock connects to a broker, and ends.
func knock(ctx context.Context, broker string, files tlsfile.Client) error {
	ctx, cancel := context.WithTimeout(ctx, tryFor)
	defer cancel()
	u, err := url.Parse(broker)
	if err != nil {
		return errors.New("it is no URL")
	}
	var conn net.Conn
	if u.Scheme == "ssl" || u.Scheme == "wss" {
		conf, err := files.Config()
		if err != nil {
			return err
		}
		conf.ServerName = u.Hostname()
		conn, err = (&tls.Dialer{Config: conf}).DialContext(ctx, "tcp", u.Host)
		if err != nil {
			return err
		}
	} else if conn, err = new(net.Dialer).DialContext(ctx, "tcp", u.Host); err != nil {
		return err
	}
	return conn.Close()
}
