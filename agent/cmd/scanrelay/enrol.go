package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"

	"scanrelay/agent"
	"scanrelay/agent/cmd/cli"
	"scanrelay/agent/identity"
	"scanrelay/configs"
	"scanrelay/configs/secret"
	"scanrelay/uplink/syncapi"
)

// enroller are the flags of enrol.
type enroller struct {
	*app
	config, token, tokenFile string
	renew                    bool
}

func (a *app) enrolCommand() *cli.Command {
	e := &enroller{app: a}
	cmd := &cli.Command{
		Use:   "enrol",
		Short: "Make this depot's key known to the centre",
		Long: "Make a key for this depot, register it at the centre with a one-time token\n" +
			"(scanrelay depot add there prints it), and prove it with a sync. After whatever\n" +
			"went wrong it may be run again: the same token with the same key gets the same\n" +
			"answer. An agent that runs takes the key up by itself.",
		Args: cli.NoArgs,
		Run:  func(ctx context.Context, _ []string) error { return e.run(ctx) },
	}
	f := cmd.Flags()
	f.StringVarP(&e.config, "config", "c", defaultConfig, "the agent's configuration `FILE`")
	f.StringVar(&e.token, "token", "", "the one-time `TOKEN`; - reads it from stdin, where no other user sees it")
	f.StringVar(&e.tokenFile, "token-file", "", "a `FILE` that holds the token")
	f.BoolVar(&e.renew, "renew", false, "change the key for another one; the one before counts until the new one is proven")
	return cmd
}

func (e *enroller) run(ctx context.Context) error {
	cfg, problems := configs.LoadAgent(e.config, e.Env)
	if err := e.problems(problems); err != nil {
		return err
	}
	token, err := e.readToken(cfg)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(cfg.DataDir, 0o750); err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	keys, err := identity.Open(cfg.DataDir, cfg.Depot.ID)
	if err != nil {
		return err
	}
	boot, err := keys.Boot()
	if err != nil {
		return err
	}
	centre, credential, err := agent.Centre(cfg, keys, boot, e.logger(cfg.Log))
	if err != nil {
		return err
	}
	if e.renew {
		err = credential.Renew(ctx)
	} else {
		err = credential.Enrol(ctx, token)
	}
	if err != nil {
		return err
	}
	// Nothing is sent under an epoch of which no event comes: it leaves no trace.
	_, err = centre.Sync(ctx, &syncapi.Request{
		V: syncapi.Version, Agent: thisBuild().Version, Epoch: syncapi.FormatEpoch(rand.Uint64() | 1), NextSeq: 1,
	})
	if err != nil {
		return fmt.Errorf("the key is enrolled, but a sync with it: %w", err)
	}
	key, err := keys.Current()
	if err != nil || key == nil {
		return errors.Join(err, errors.New("the key is enrolled and cannot be read"))
	}
	_, err = fmt.Fprintf(e.Out, e.Say("%s is enrolled at %s, key %s\n", "%s 已在 %s 登记,密钥 %s\n"), cfg.Depot.ID, centre.Origin(), key.Fingerprint())
	return err
}

// readToken finds the token; none is wanted to renew.
func (e *enroller) readToken(cfg *configs.Agent) (secret.Text, error) {
	if e.renew {
		if e.token != "" || e.tokenFile != "" {
			return "", cli.Usagef("--renew takes no token")
		}
		return "", nil
	}
	token, err := e.app.readToken(e.token, e.tokenFile)
	if token = cmp.Or(token, cfg.Central.EnrolToken.Reveal()); err == nil && token == "" {
		err = cli.Usagef("enrol needs --token TOKEN, --token-file FILE or central.enrol_token; scanrelay depot add prints one at the centre")
	}
	return secret.Text(token), err
}

// readToken returns what was given as a token, from stdin where it is -, or what is
// in a file; "" where neither was given.
func (a *app) readToken(text, file string) (string, error) {
	var data []byte
	var err error
	switch {
	case text != "" && file != "":
		return "", cli.Usagef("give one of --token and --token-file")
	case text == "" && file == "":
		return "", nil
	case file != "":
		data, err = os.ReadFile(file)
	case text == "-":
		data, err = io.ReadAll(io.LimitReader(a.In, 4<<10))
	default:
		data = []byte(text)
	}
	token := strings.TrimSpace(string(data))
	switch {
	case err != nil:
	case token == "":
		err = errors.New("there is none")
	case strings.ContainsAny(token, " \t\r\n"):
		err = errors.New("it must be one word: is it the right file?")
	}
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	return token, nil
}
