package setup

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"

	"scanrelay/configs"
)

var centralRole = role{
	name: configs.RoleCentral, short: "Write the configuration of a centre",
	file: "/etc/scanrelay/central.yaml", group: "scanrelay-central",
	questions: []question{
		{flag: "appid", text: words{"The AppID of the carrier's account at WeChat", "微信账号的 AppID"}, example: "wx0123456789abcdef", check: validAppID},
		{flag: "secret", text: words{"Its AppSecret", "AppSecret"}, secret: true},
		{flag: "callback-token", text: words{"The Token of 消息推送 in WeChat's console: letters and digits (made)", "微信后台「消息推送」的 Token(可自动生成)"}, optional: true, secret: true},
		{flag: "encoding-aes-key", text: words{"The EncodingAESKey there, 43 characters (made)", "EncodingAESKey,43 位(可自动生成)"}, optional: true, secret: true},
		{flag: "origin", text: words{"The address by which depots and WeChat reach this centre", "网点和微信访问本中心的地址"}, example: "https://centre.example.com", check: validOrigin},
		{flag: "listen", text: words{"Where it listens, behind a proxy that speaks TLS", "监听地址(前面放 TLS 代理)"}, value: "127.0.0.1:8080"},
		{flag: "ops-listen", text: words{"Where the fleet page and metrics are", "运维页面和指标的地址"}, value: "127.0.0.1:9107"},
		{flag: "dsn", text: words{"PostgreSQL's address, for a centre of several processes", "PostgreSQL 地址(多进程时填)"}, example: "postgres://scanrelay@db-1/scanrelay?sslmode=verify-full", optional: true, secret: true},
		{flag: "store-key", text: words{"The key of that database, 64 hex digits, of the process that is there already (made)", "数据库密钥,64 位十六进制(可自动生成;多进程须相同)"}, optional: true, secret: true, kept: storeKey,
			unless: func(a answers) bool { return a["dsn"] == "" }},
		{flag: "data-dir", text: words{"Where the centre keeps its state", "数据目录"}, value: "/var/lib/scanrelay-central"},
	},
	write: writeCentral,
	check: func(name string, text []byte) configs.Problems {
		_, problems := configs.ReadCentral(name, text, nil)
		return problems
	},
	try: func(_ context.Context, s *session, _ []byte) {
		for _, key := range []string{"listen", "ops-listen"} {
			ln, err := net.Listen("tcp", s.answers[key])
			if err == nil {
				err = ln.Close()
			}
			s.tried(strings.ReplaceAll(key, "-", "_"), err, say(s.lang, "free", "可用"),
				say(s.lang, "another program listens there; if it is a running centre, all is well", "该地址已被占用;若是正在运行的中心则正常"))
		}
	},
	next: func(s *session) {
		fmt.Fprintf(s.Out, say(s.lang,
			"next    scanrelay check -c %[1]s && systemctl enable --now scanrelay-central\n"+
				"        WeChat's console, 消息推送: URL %[2]s/wechat/callback, Token in %[3]s, EncodingAESKey in %[4]s, secure mode, IP allow list\n"+
				"        the fleet page: http://%[5]s/, operator's token in %[6]s; a depot: scanrelay depot add ID\n",
			"下一步  scanrelay check -c %[1]s && systemctl enable --now scanrelay-central\n"+
				"        微信后台「消息推送」:URL %[2]s/wechat/callback,Token 见 %[3]s,EncodingAESKey 见 %[4]s,安全模式,IP 白名单\n"+
				"        运维页面:http://%[5]s/,令牌见 %[6]s;登记网点:scanrelay depot add ID\n"),
			s.config, strings.TrimSuffix(s.answers["origin"], "/"), filepath.Join(s.folder, callbackToken), filepath.Join(s.folder, callbackKey),
			s.answers["ops-listen"], filepath.Join(s.folder, adminToken))
	},
}

const (
	appSecret     = "appsecret"
	callbackToken = "callback-token"
	callbackKey   = "encoding-aes-key"
	adminToken    = "admin-token"
	databaseDSN   = "database-dsn"
	storeKey      = "store-key" // which no purge takes: without it what is stored cannot be read
)

func validAppID(v string) error {
	if !strings.HasPrefix(v, "wx") {
		return errors.New("must begin with wx, as WeChat's console shows it")
	}
	return nil
}

func validOrigin(v string) error {
	if !strings.HasPrefix(v, "https://") && !strings.HasPrefix(v, "http://") {
		return errors.New("must begin with https://")
	}
	return nil
}

// aesKey is 256 bits as WeChat's console takes them: 43 letters and digits.
func aesKey() string {
	for {
		b := make([]byte, 32)
		_, _ = rand.Read(b) // never returns an error
		if key := base64.RawStdEncoding.EncodeToString(b); !strings.ContainsAny(key, "+/") {
			return key
		}
	}
}

// hexKey is 256 bits as store.key takes them.
func hexKey() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never returns an error
	return hex.EncodeToString(b)
}

// writeCentral makes what WeChat's console is to be given, and the operator's token,
// where it was not answered.
func writeCentral(a answers) *draft {
	d := &draft{}
	made := func(name, otherwise string) string { return cmp.Or(a[name], otherwise) }
	d.add("# The centre, written by scanrelay init central. All keys, each with its default:\n" +
		"# /usr/share/scanrelay/central.example.yaml. After a change:\n" +
		"#   scanrelay check -c FILE && systemctl reload scanrelay-central\n\n")
	d.add("listen: %s\nops_listen: %s\ndata_dir: %s\norigins: [%s]\n", quoted(a["listen"]), quoted(a["ops-listen"]), quoted(a["data-dir"]), quoted(a["origin"]))
	if a["dsn"] != "" {
		d.add("\nstore:\n  driver: postgres\n")
		d.secret("  dsn", databaseDSN, a["dsn"])
		d.add("  # Under this key personal data stands in the database: the same for all processes, and kept elsewhere, too.\n")
		d.secret("  key", storeKey, made("store-key", hexKey()))
	}
	d.add("\nwechat:\n  appid: %s\n", quoted(a["appid"]))
	d.secret("  secret", appSecret, a["secret"])
	d.add("  callback:\n    # These two stand in WeChat's console as well.\n")
	d.secret("    token", callbackToken, made("callback-token", password()+password()))
	d.secret("    encoding_aes_key", callbackKey, made("encoding-aes-key", aesKey()))
	d.add("\n# Of the operator admin, who may all; others: operators.\n")
	d.secret("admin_token", adminToken, password()+password())
	return d
}
