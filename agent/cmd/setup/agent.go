package setup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"scanrelay/agent"
	"scanrelay/agent/intake/mapping"
	"scanrelay/agent/intake/probe"
	"scanrelay/agent/scan"
	"scanrelay/configs"
	"scanrelay/uplink/syncapi"
)

const embedded = "embedded"

var agentRole = role{
	name: configs.RoleAgent, short: "Write the configuration of a depot's gateway",
	file: "/etc/scanrelay/agent.yaml", group: "scanrelay",
	questions: []question{
		{flag: "depot-id", text: words{"The depot's id, as the centre knows it", "网点编号(中心登记的 id)"}, example: "hz-01", check: validDepot},
		{flag: "depot-name", text: words{"The depot's name, for the texts that receivers read", "网点名称(收件人会看到)"}, example: "杭州转运中心", optional: true},
		{flag: "centre", text: words{"The centre's address", "中心地址"}, example: "https://centre.example.com"},
		{flag: "enrol-token", text: words{"The one-time token that scanrelay depot add printed at the centre", "中心用 scanrelay depot add 生成的一次性令牌"}, optional: true, secret: true,
			unless: func(a answers) bool { return a["token"] != "" }},
		{flag: "token", text: words{"The depot's static token, instead of a one-time token", "网点的固定令牌(没有一次性令牌时填)"}, optional: true, secret: true,
			unless: func(a answers) bool { return a["enrol-token"] != "" }},
		{flag: "broker", text: words{"The MQTT broker: embedded, or another one's address", "MQTT 服务器:embedded 为内置,或填外部地址"}, value: embedded},
		{flag: "mqtt-listen", text: words{"Where scanners connect", "扫描枪连接的地址"}, value: "0.0.0.0:1883",
			unless: func(a answers) bool { return a["broker"] != embedded }},
		{flag: "mqtt-user", text: words{"The name by which scanners sign in", "扫描枪登录的用户名"}, value: "scanner"},
		{flag: "mqtt-password", text: words{"Their password (made for the embedded broker)", "扫描枪的密码(内置时可自动生成)"}, optional: true, secret: true},
		{flag: "data-dir", text: words{"Where scans are kept, on a disk that honours fsync", "数据目录(须在可靠的盘上)"}, value: "/var/lib/scanrelay"},
	},
	write: writeAgent,
	check: func(name string, text []byte) configs.Problems {
		_, problems := configs.ReadAgent(name, text, nil)
		return problems
	},
	try: tryAgent,
	next: func(s *session) {
		fmt.Fprintf(s.Out, say(s.lang, "next    scanrelay check -c %s && systemctl enable --now scanrelay-agent\n", "下一步  scanrelay check -c %s && systemctl enable --now scanrelay-agent\n"), s.config)
		if s.answers["broker"] == embedded {
			fmt.Fprintf(s.Out, say(s.lang, "        scanners: MQTT at %s, user %s, password in %s, topic scans/NAME\n",
				"        扫描枪:MQTT 地址 %s,用户 %s,密码见 %s,主题 scans/名称\n"),
				s.answers["mqtt-listen"], s.answers["mqtt-user"], filepath.Join(s.folder, scannerPassword))
		}
		if s.answers["enrol-token"] == "" && s.answers["token"] == "" {
			fmt.Fprintf(s.Out, say(s.lang, "        this depot is not enrolled: scanrelay enrol --token - -c %s\n", "        网点尚未登记:scanrelay enrol --token - -c %s\n"), s.config)
		}
	},
}

const (
	enrolToken      = "enrol-token"
	depotToken      = "depot-token"
	scannerPassword = "scanner.password"
)

func validDepot(v string) error {
	if !scan.DepotID(v).Valid() {
		return errors.New("must be small letters, digits and -, at most 63 of them")
	}
	return nil
}

func writeAgent(a answers) *draft {
	d := &draft{}
	d.add("# A depot's agent, written by scanrelay init agent. All keys, each with its default:\n" +
		"# /usr/share/scanrelay/agent.example.yaml. After a change:\n" +
		"#   scanrelay check && systemctl reload scanrelay-agent\n\n")
	d.add("depot:\n  id: %s\n", quoted(a["depot-id"]))
	if name := a["depot-name"]; name != "" {
		d.add("  name: %s\n", quoted(name))
	}
	d.add("\ndata_dir: %s\n\ncentral:\n  url: %s\n", quoted(a["data-dir"]), quoted(a["centre"]))
	switch {
	case a["token"] != "":
		d.secret("  token", depotToken, a["token"])
	case a["enrol-token"] != "":
		d.add("  # Used once, at the first start; then the depot has a key of its own in data_dir.\n")
		d.secret("  enrol_token", enrolToken, a["enrol-token"])
	}
	d.add("\nmqtt:\n  broker: %s\n", quoted(a["broker"]))
	if a["broker"] == embedded {
		d.add("  listen: %s\n  embedded:\n    users:\n      - username: %s\n", quoted(a["mqtt-listen"]), quoted(a["mqtt-user"]))
		d.secret("        password", scannerPassword, cmp.Or(a["mqtt-password"], password()))
	} else if a["mqtt-password"] != "" {
		d.add("  username: %s\n", quoted(a["mqtt-user"]))
		d.secret("  password", scannerPassword, a["mqtt-password"])
	}
	d.add("\n# Devices that do not speak scanrelay's own JSON: examples to copy are in\n" +
		"# /usr/share/scanrelay/sources. Try a message first:\n" +
		"#   scanrelay check --payload FILE --topic TOPIC\n" +
		"sources:\n  - {topic: \"scans/#\", qos: 1, decoder: json}\n")
	return d
}

// tryFor is how long one thing is tried.
const tryFor = 15 * time.Second

func tryAgent(ctx context.Context, s *session, text []byte) {
	cfg, _ := configs.ReadAgent(s.config, text, nil) // it was checked
	s.tryCentre(ctx, cfg)
	if !cfg.MQTT.IsEmbedded() {
		s.tryBroker(ctx, cfg)
		return
	}
	ln, err := net.Listen("tcp", cfg.MQTT.Listen)
	if err == nil {
		err = ln.Close()
	}
	s.tried("mqtt.listen", err, say(s.lang, "free", "可用"),
		say(s.lang, "another program listens there; if it is a running agent, all is well", "该地址已被占用;若是正在运行的 agent 则正常"))
}

func (s *session) tryCentre(ctx context.Context, cfg *configs.Agent) {
	ctx, cancel := context.WithTimeout(ctx, tryFor)
	defer cancel()
	client, err := syncapi.NewClient(syncapi.Options{URL: cfg.Central.URL, TLS: cfg.Central.TLS})
	if err == nil {
		_, err = client.Nonce(ctx, cfg.Depot.ID)
	}
	s.tried("central.url", err, say(s.lang, "a scanrelay centre answers", "中心有应答"),
		say(s.lang, "scans are taken without the centre, too; mend the line, or the address", "没有中心也照收扫描;请检查网络或地址"))
}

func (s *session) tryBroker(ctx context.Context, cfg *configs.Agent) {
	ctx, cancel := context.WithTimeout(ctx, 4*tryFor)
	defer cancel()
	rules, _ := mapping.Compile(cfg.Mapping()) // it was checked
	sc := agent.Brokers(cfg)
	sc.ClientID += "-check"
	var err error
	if list := probe.Run(ctx, sc, sc.Brokers[0], mapping.New(rules, nil, nil)); probe.AtRisk(list) {
		for _, f := range list {
			if f.Result == probe.Risk {
				err = errors.Join(err, fmt.Errorf("%s: %s", f.What, f.Text))
			}
		}
	}
	s.tried("mqtt.broker", err, say(s.lang, "it keeps what scans need", "满足要求"),
		say(s.lang, "scanrelay check --broker says all about it", "详情:scanrelay check --broker"))
}
