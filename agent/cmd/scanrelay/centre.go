//go:build !gateway

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"scanrelay/agent/cmd/cli"
	"scanrelay/configs"
	"scanrelay/configs/secret"
)

// operator are the flags of commands that talk to a running centre.
type operator struct {
	*app
	config, url, token, tokenFile string
	json                          bool

	read string // the token, as it was read: stdin has it once
}

func (o *operator) flags(cmd *cli.Command) {
	f := cmd.Flags()
	f.StringVarP(&o.config, "config", "c", "/etc/scanrelay/central.yaml", "the configuration `FILE` of the centre on this machine")
	f.StringVar(&o.url, "url", "", "`ADDRESS` of a centre elsewhere, with --token")
	f.StringVar(&o.token, "token", "", "an operator's `TOKEN` for --url; - reads it from stdin, where no other user sees it")
	f.StringVar(&o.tokenFile, "token-file", "", "a `FILE` that holds the token")
	f.BoolVar(&o.json, "json", false, "print JSON")
}

// errNotRunning: nobody listens on the local socket.
var errNotRunning = errors.New("the centre is not running")

// call makes one call of the centre. An answer that is no 200 is an error.
func (o *operator) call(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	return o.stream(ctx, method, path, body, func(resp *http.Response) error {
		data, err := io.ReadAll(io.LimitReader(resp.Body, 256<<20))
		if err != nil {
			return fmt.Errorf("read the centre's answer: %w", err)
		}
		if err := json.Unmarshal(data, out); err != nil {
			return errors.New("the answer is not a centre's: is --url right?")
		}
		return nil
	})
}

// stream makes a call and gives the answer to take.
func (o *operator) stream(ctx context.Context, method, path string, body []byte, take func(*http.Response) error) error {
	client, base, token, err := o.centre()
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, method, base+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("--url: %w", err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(req)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED) && o.url == "":
		return errNotRunning
	case errors.Is(err, fs.ErrPermission):
		return errors.New("permission denied: run this as root or as a member of the centre's group")
	case err != nil:
		return fmt.Errorf("call the centre: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return take(resp)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return fmt.Errorf("read the centre's answer: %w", err)
	}
	var f struct{ Error string }
	if json.Unmarshal(data, &f) != nil || f.Error == "" {
		f.Error = "the centre answered " + resp.Status
	}
	return errors.New(f.Error)
}

// centre is how it is reached: over the socket in its data_dir, or --url.
func (o *operator) centre() (client *http.Client, base, token string, err error) {
	client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if o.url == "" {
		cfg, problems := configs.LoadCentral(o.config, o.Env)
		for _, p := range problems.Errors() {
			if p.Key == "" || p.Key == "data_dir" {
				return nil, "", "", errors.New(p.String())
			}
		}
		client.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			d := net.Dialer{Timeout: 3 * time.Second}
			return d.DialContext(ctx, "unix", centralSocket(cfg.DataDir))
		}}
		return client, "http://centre", "", nil
	}
	u, err := url.Parse(o.url)
	if err != nil || u.Host == "" || u.User != nil {
		return nil, "", "", cli.Usagef("--url must be an address as https://centre.example.com")
	}
	if !secret.MayGoTo(u) {
		return nil, "", "", cli.Usagef("--url must be https: the token would go over the wire in clear")
	}
	if o.read == "" {
		if o.read, err = o.readToken(o.token, o.tokenFile); err == nil && o.read == "" {
			err = cli.Usagef("--url needs --token TOKEN or --token-file FILE")
		}
	}
	return client, strings.TrimRight(o.url, "/"), o.read, err
}
