//go:build !gateway

package main

import (
	"log/slog"
	"testing"

	"scanrelay/agent/cmd/cli"
	"scanrelay/configs"
	"scanrelay/store/snapshot/bolt"
)

// What check lets pass the centre starts with.
func TestCheckAndStartOfTheCentreAgree(t *testing.T) {
	snap, err := bolt.Open(t.TempDir(), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Close()
	const base = "wechat:\n  appid: wx1\n  secret: s\n  rate: 10\n  callback: {token: t, encoding_aes_key: abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
	for name, row := range map[string]struct {
		text  string
		right bool
	}{
		"plain":        {base + ", mode: plain}\n", true},
		"secure":       {base + "}\n", true},
		"path":         {base + ", path: /a/b}\n", true},
		"root":         {base + ", path: /}\n", false},
		"taken":        {base + ", path: /v1/x}\n", false},
		"taken api":    {base + ", path: /v1}\n", false},
		"healthz":      {base + ", path: /healthz}\n", false},
		"healthz/":     {base + ", path: /healthz/}\n", false},
		"metrics2":     {base + ", path: /metrics2}\n", true},
		"jsonp":        {base + ", path: /jsonp}\n", false},
		"slashes":      {base + ", path: //a}\n", true},
		"dots":         {base + ", path: /a/../b}\n", true},
		"slash":        {base + ", path: /a/}\n", true},
		"brace":        {base + ", path: '/a/{x}'}\n", false},
		"no slash":     {base + ", path: a}\n", false},
		"percent":      {base + ", path: '/a%zz'}\n", true},
		"percent ok":   {base + ", path: '/a%20b'}\n", true},
		"tab":          {base + ", path: \"/a\\tb\"}\n", false},
		"unicode":      {base + ", path: /回调}\n", true},
		"aes stray":    {"wechat: {appid: wx1, secret: s, callback: {token: t, encoding_aes_key: abcdefghijklmnopqrstuvwxyz0123456789ABCDEFH}}\n", true},
		"aes wrong":    {"wechat: {appid: wx1, secret: s, callback: {token: t, encoding_aes_key: abcdefghijklmnopqrstuvwxyz0123456789ABCDE-H}}\n", false},
		"aes newline":  {"wechat: {appid: wx1, secret: s, callback: {token: t, encoding_aes_key: \"abcdefghijklmnopqrstuvwxyz0123456789ABCDEF\\n\"}}\n", false},
		"base url":     {"wechat: {base_url: 'http://h/x', appid: wx1, secret: s, callback: {token: t, mode: plain}}\n", true},
		"base url ipv": {"wechat: {base_url: 'http://[::1]:80', appid: wx1, secret: s, callback: {token: t, mode: plain}}\n", true},
		"base url /":   {"wechat: {base_url: 'http://h/', appid: wx1, secret: s, callback: {token: t, mode: plain}}\n", true},
		"upper":        {"wechat: {base_url: 'HTTPS://h', appid: wx1, secret: s, callback: {token: t, mode: plain}}\n", true},
		"depots":       {base + "}\ndepots: [{id: a, token: x}, {id: b, token: x}]\n", false},
		"depot":        {base + "}\ndepots: [{id: A, token: x}]\n", false},
		"two depots":   {base + "}\ndepots: [{id: a, token: x}, {id: b, token: y}]\n", true},
		"admin":        {base + "}\nadmin_token: x\ndepots: [{id: a, token: x}]\n", false},
		"proxies":      {base + "}\ntrusted_proxies: [10.0.0.1, 10.0.0.0/8, '::1']\n", true},
		"max skew":     {base + ", max_skew: 0}\n", true},
		"rate":         {"wechat: {rate: 0.001, appid: wx1, secret: s, callback: {token: t, mode: plain}}\n", true},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, problems := configs.ReadCentral("central.yaml", []byte(row.text), nil)
			if problems.Failed() == row.right {
				t.Errorf("check: %v", problems)
			}
			if problems.Failed() {
				return
			}
			cfg.DataDir = t.TempDir()
			parts, err := openIdentities(t.Context(), cfg, snap, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			defer parts.Close()
			if _, err := newApp(cli.IO{}).newCentral(cfg, snap, parts, slog.New(slog.DiscardHandler)); err != nil {
				t.Errorf("check lets pass what start refuses: %v", err)
			}
		})
	}
}
