package release

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"scanrelay/agent/cmd/cli"
	"scanrelay/agent/update/release"
	"scanrelay/agent/update/trust"
	"scanrelay/configs/secret"
	"scanrelay/configs/textfile"
	"scanrelay/store/durable"
)

type maker struct{ cli.IO }

// Command returns "release", with all that is below it.
func Command(world cli.IO) *cli.Command {
	m := &maker{world}
	cmd := &cli.Command{
		Use:   "release",
		Short: "Publish releases for gateways: make, sign and check a repository",
		Long: "Make the repository from which gateways update themselves. Nothing in it counts\n" +
			"before enough keys have signed it, each wherever it is kept:\n\n" +
			"  scanrelay release init DIR --passphrase-file FILE\n" +
			"  scanrelay release add DIR --version 1.2.0 scanrelay-agent_1.2.0_armhf.deb\n" +
			"  scanrelay release sign DIR --key targets.key --passphrase-file FILE\n" +
			"  scanrelay release verify DIR\n\n" +
			"A release is seen by gateways once the keys targets, snapshot and timestamp have\n" +
			"signed, in this order. root.json is what gateways are given first.",
	}
	cmd.Add(m.initCommand(), m.addCommand(), m.signCommand(), m.verifyCommand(), m.bundleCommand(), m.keyCommand(), m.rotateCommand())
	return cmd
}

// maxPassphrase bounds a passphrase's file.
const maxPassphrase = 4096

// passphrase reads one; "" if no file is named.
func passphrase(file string) (secret.Text, error) {
	if file == "" {
		return "", nil
	}
	text, err := textfile.Read(file, maxPassphrase)
	if err != nil {
		return "", fmt.Errorf("read passphrase: %w", err)
	}
	if text = bytes.TrimRight(text, "\r\n"); len(text) == 0 {
		return "", errors.New("read passphrase: the file is empty")
	}
	return secret.Text(text), nil
}

func (m *maker) initCommand() *cli.Command {
	var keys, pass string
	var roots []string
	cmd := &cli.Command{
		Use:   "init DIR",
		Short: "Make a repository: its keys, each under a passphrase, and the first root",
		Long: fmt.Sprintf("Make a repository: keys for targets, snapshot and timestamp, and %d for the root, of\n"+
			"which %d sign together. Move the root's to different people and away from any\n"+
			"network. With --root-key the root's are made elsewhere (release key), and sign\n"+
			"afterwards.", release.RootKeys, release.RootThreshold),
		Args: cli.Exactly(1, "DIR"),
		Run: func(_ context.Context, args []string) error {
			if pass == "" {
				return cli.Usagef("init needs --passphrase-file FILE")
			}
			if keys == "" {
				keys = filepath.Join(args[0], "keys")
			}
			phrase, err := passphrase(pass)
			if err != nil {
				return err
			}
			var others []*release.Key
			for _, file := range roots {
				k, err := release.LoadKey(file, "")
				if err != nil {
					return err
				}
				others = append(others, k)
			}
			r := release.Repository{Dir: args[0]}
			if err := r.Init(keys, phrase, others); err != nil {
				return err
			}
			fmt.Fprintf(m.Out, m.Say("made a repository in %s, keys in %s; gateways are given %s first\n", "已在 %s 建立发布仓库,密钥在 %s;网关首先信任 %s\n"), args[0], keys, filepath.Join(args[0], "root.json"))
			return m.missing(r)
		},
	}
	f := cmd.Flags()
	f.StringVar(&keys, "keys", "", "the `FOLDER` for the keys; unless given, DIR/keys")
	f.StringVar(&pass, "passphrase-file", "", "the `FILE` with the passphrase of the keys that are made")
	f.StringArrayVar(&roots, "root-key", nil, "the public `FILE` of a root key that was made elsewhere; several times")
	return cmd
}

func (m *maker) addCommand() *cli.Command {
	var rel release.Release
	var store, protocol string
	cmd := &cli.Command{
		Use:   "add DIR FILE...",
		Short: "Add a version's programs, from packages, archives or as they are",
		Long: "Add a version: programs, Debian packages or .tar.gz archives with them. Operating\n" +
			"system and architecture are read from each program's ELF header, GOARM from what\n" +
			"Go's linker wrote down. A version that is there never changes.",
		Args: func(_ *cli.Command, args []string) error {
			if len(args) < 2 || rel.Version == "" {
				return cli.Usagef("add needs DIR, --version V and at least one FILE")
			}
			return nil
		},
		Run: func(_ context.Context, args []string) (err error) {
			if rel.Store, err = span("store", store); err != nil {
				return err
			}
			if rel.Protocol, err = span("protocol", protocol); err != nil {
				return err
			}
			r := release.Repository{Dir: args[0]}
			list, err := r.Add(rel, args[1:])
			if err != nil {
				return err
			}
			for _, a := range list {
				fmt.Fprintf(m.Out, m.Say("added %s, %s\n", "已加入 %s,%s\n"), a.Path, cli.Size(a.Length))
			}
			return m.missing(r)
		},
	}
	f := cmd.Flags()
	f.StringVar(&rel.Version, "version", "", "the `VERSION`, as 1.2.0")
	f.StringVar(&rel.Name, "name", "scanrelay", "the program's `NAME`")
	f.StringVar(&rel.MinFrom, "min-from", "", "the oldest `VERSION` from which one may go straight to this one")
	f.StringArrayVar(&rel.From, "from", nil, "make deltas from this `VERSION` that is there; several times")
	f.StringVar(&rel.GOARM, "goarm", "", "for which ARM `6` or 7, where the program does not say")
	f.StringVar(&store, "store", "", "which formats of the store it reads, as `1-2`")
	f.StringVar(&protocol, "protocol", "", "which versions of the protocol with the centre it speaks, as `1-2`")
	return cmd
}

// span reads 1-2; nil if there is none.
func span(flag, text string) (*trust.Range, error) {
	if text == "" {
		return nil, nil
	}
	var r trust.Range
	if n, err := fmt.Sscanf(text, "%d-%d", &r.Min, &r.Max); n != 2 || err != nil || r.Min < 0 || r.Max < r.Min {
		return nil, cli.Usagef("--%s must be as 1-2", flag)
	}
	return &r, nil
}

func (m *maker) signCommand() *cli.Command {
	var keys []string
	var pass string
	var renew bool
	cmd := &cli.Command{
		Use:   "sign DIR",
		Short: "Sign what waits for a key, and publish what has signatures enough",
		Args:  cli.Exactly(1, "DIR"),
		Run: func(_ context.Context, args []string) error {
			if len(keys) == 0 || pass == "" {
				return cli.Usagef("sign needs --key FILE and --passphrase-file FILE")
			}
			phrase, err := passphrase(pass)
			if err != nil {
				return err
			}
			r, did := release.Repository{Dir: args[0]}, 0
			for _, file := range keys {
				k, err := release.LoadKey(file, phrase)
				if err != nil {
					return err
				}
				if renew {
					if err := r.Renew(k); err != nil {
						return err
					}
				}
				steps, err := r.Sign(k)
				m.steps(steps)
				did += len(steps)
				if err != nil {
					return err
				}
			}
			if did == 0 {
				fmt.Fprintln(m.Out, m.Say("nothing waits for this key", "没有等待此密钥签名的内容"))
			}
			return m.missing(r)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&keys, "key", nil, "the `FILE` of a key; several times, in the order in which they sign")
	f.StringVar(&pass, "passphrase-file", "", "the `FILE` with its passphrase")
	f.BoolVar(&renew, "renew", false, "sign what is published anew, so that it expires later")
	return cmd
}

func (m *maker) steps(steps []release.Step) {
	for _, s := range steps {
		text := m.Say("signed %s %d\n", "已签名 %s %d\n")
		if s.Published {
			text = m.Say("published %s %d\n", "已发布 %s %d\n")
		}
		fmt.Fprintf(m.Out, text, s.Role, s.Version)
	}
}

// missing prints what still lacks signatures.
func (m *maker) missing(r release.Repository) error {
	list, err := r.Missing()
	for _, l := range list {
		fmt.Fprintf(m.Out, m.Say("missing: %s %d needs %d more of these keys: %s\n", "缺少:%s %d 还需 %d 个签名,可用密钥:%s\n"), l.Role, l.Version, l.Need, strings.Join(named(r.Dir, l.From), ", "))
	}
	return err
}

// named are keys by the beginnings of their ids, and by their files where these are in
// the usual place.
func named(dir string, ids []string) (list []string) {
	files, _ := durable.Glob(filepath.Join(dir, "keys"), "*.key") // they may well be elsewhere
	for _, id := range ids {
		name := id[:min(16, len(id))]
		for _, file := range files {
			if k, err := release.LoadKey(file, ""); err == nil && k.ID == id {
				name += " (" + filepath.Base(file) + ")"
			}
		}
		list = append(list, name)
	}
	return list
}

func (m *maker) verifyCommand() *cli.Command {
	var asJSON bool
	cmd := &cli.Command{
		Use:   "verify DIR",
		Short: "Check everything as a gateway would, and say what is still missing",
		Args:  cli.Exactly(1, "DIR"),
		Run: func(ctx context.Context, args []string) error {
			r := release.Repository{Dir: args[0]}
			lacks, err := r.Missing()
			if err != nil {
				return err
			}
			v, err := r.Verify(ctx)
			if asJSON {
				return errors.Join(err, m.JSON(map[string]any{"targets": v.Targets, "expires": v.Expires, "missing": lacks}))
			}
			table := cli.Table{Head: []string{"version", "machine", "size", "min from", "sha256"}}
			for _, t := range v.Targets {
				table.Add(t.Version, t.Machine(), cli.Size(t.Length), cli.Dash(t.MinFrom), t.SHA256[:16])
			}
			if err == nil && len(table.Rows) > 0 {
				err = table.Print(m.IO)
			}
			if err := errors.Join(err, m.missing(r)); err != nil {
				return err
			}
			if len(lacks) > 0 {
				return errors.New("verify: what is published is right, what is staged is not published yet")
			}
			_, err = fmt.Fprintf(m.Out, m.Say("all is right until %s\n", "全部正确,有效至 %s\n"), cli.Moment(v.Expires.Unix()))
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (m *maker) bundleCommand() *cli.Command {
	var name, version, machine, to string
	cmd := &cli.Command{
		Use:   "bundle DIR",
		Short: "Put one version for one machine into one file, for a USB stick",
		Args:  cli.Exactly(1, "DIR"),
		Run: func(ctx context.Context, args []string) error {
			if version == "" || machine == "" || to == "" {
				return cli.Usagef("bundle needs --version V, --os-arch linux/arm/6 and --to FILE")
			}
			t, err := release.Repository{Dir: args[0]}.Bundle(ctx, name, version, machine, to)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(m.Out, m.Say("wrote %s: %s %s for %s; on the gateway: scanrelay update apply %s\n", "已写入 %s:%s %s(%s);在网关上运行:scanrelay update apply %s\n"), to, t.Name, t.Version, t.Machine(), filepath.Base(to))
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&name, "name", "scanrelay", "the program's `NAME`")
	f.StringVar(&version, "version", "", "the `VERSION`")
	f.StringVar(&machine, "os-arch", "", "the `MACHINE`, as linux/arm/6 or linux/arm64")
	f.StringVar(&to, "to", "", "the `FILE` to write")
	return cmd
}

func (m *maker) keyCommand() *cli.Command {
	var pass string
	var online bool
	cmd := &cli.Command{
		Use:   "key FILE",
		Short: "Make a key where it will be kept; its public half goes into FILE.pub",
		Long: "Make a key where it will be kept; its public half goes into FILE.pub. With --online\n" +
			"it has no passphrase: for the centre's updates.timestamp_key_file alone.",
		Args: cli.Exactly(1, "FILE"),
		Run: func(_ context.Context, args []string) error {
			if online == (pass != "") {
				return cli.Usagef("key needs --passphrase-file FILE, or --online")
			}
			phrase, err := passphrase(pass)
			if err != nil {
				return err
			}
			var k *release.Key
			if online {
				k, err = release.NewOnlineKey(args[0])
			} else {
				k, err = release.NewKey(args[0], phrase)
			}
			if err == nil {
				err = k.WritePublic(args[0] + ".pub")
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(m.Out, m.Say("made key %s\n", "已生成密钥 %s\n"), k.ID)
			return err
		},
	}
	cmd.Flags().StringVar(&pass, "passphrase-file", "", "the `FILE` with its passphrase")
	cmd.Flags().BoolVar(&online, "online", false, "without a passphrase: for a centre, which signs timestamps by itself")
	return cmd
}

func (m *maker) rotateCommand() *cli.Command {
	var role, old, with string
	cmd := &cli.Command{
		Use:   "rotate DIR",
		Short: "Stage a root with other keys, or with the same ones that expires later",
		Long: "Stage the next root: --role with --old, a key's file or id, that signs no more, and\n" +
			"--new, a key's file, that does from now on. Without them it only expires later.\n" +
			"Enough root keys of before and of now sign it; then what the old key signed is\n" +
			"staged to be signed anew.",
		Args: cli.Exactly(1, "DIR"),
		Run: func(_ context.Context, args []string) error {
			if (old != "" || with != "") && role == "" {
				return cli.Usagef("rotate needs --role root, targets, snapshot or timestamp with --old and --new")
			}
			if role == "" {
				role = trust.Root
			}
			if k, err := release.LoadKey(old, ""); old != "" && err == nil {
				old = k.ID
			}
			var key *release.Key
			if with != "" {
				var err error
				if key, err = release.LoadKey(with, ""); err != nil {
					return err
				}
			}
			r := release.Repository{Dir: args[0]}
			if err := r.Rotate(role, old, key); err != nil {
				return err
			}
			return m.missing(r)
		},
	}
	f := cmd.Flags()
	f.StringVar(&role, "role", "", "whose key: `ROLE` root, targets, snapshot or timestamp")
	f.StringVar(&old, "old", "", "the key that signs no more: its `FILE` or id")
	f.StringVar(&with, "new", "", "the `FILE` of the key that signs from now on")
	return cmd
}
