package setup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	reasons "scanrelay/agent/cmd/chinese"
	"scanrelay/agent/cmd/cli"
	"scanrelay/configs"
	"scanrelay/store/durable"
)

// Command is "init".
func Command(world cli.IO) *cli.Command {
	group := &cli.Command{
		Use:   "init",
		Short: "Write a first configuration, for an agent or a centre",
		Long:  "Ask what a new gateway or centre cannot know by itself, try it, and write a short\nconfiguration. Every question has a flag that answers it.",
	}
	group.Add(agentRole.command(world), centralRole.command(world))
	return group
}

// role is what is set up.
type role struct {
	name      configs.Role
	short     string
	file      string // where the configuration goes unless -c says otherwise
	group     string // of the service, which must read it
	questions []question
	write     func(a answers) *draft
	check     func(name string, text []byte) configs.Problems
	// try tells what of the answers works from here; text is the whole configuration.
	try  func(ctx context.Context, s *session, text []byte)
	next func(s *session)
}

// question asks for one answer, on a terminal or by a flag.
type question struct {
	flag     string
	text     words  // as a person is asked
	example  string // or default, in help
	value    string // the default
	optional bool   // nothing is an answer
	secret   bool   // a flag -file reads it, where no other user sees it
	kept     string // the file that holds it, whose content nothing ever overwrites
	check    func(string) error
	unless   func(answers) bool // it need not be asked
}

type answers map[string]string

// session is one run of init.
type session struct {
	cli.IO
	role
	lang    int
	config  string
	folder  string
	answers answers
	in      *bufio.Reader
}

func (r role) command(world cli.IO) *cli.Command {
	var config string
	var force bool
	given := answers{}
	cmd := &cli.Command{Use: string(r.name), Short: r.short, Args: cli.NoArgs}
	f := cmd.Flags()
	f.StringVarP(&config, "config", "c", r.file, "the configuration `FILE` to be written")
	f.BoolVar(&force, "force", false, "overwrite what is there")
	values := map[string]*string{}
	for _, q := range r.questions {
		values[q.flag] = f.String(q.flag, "", q.help())
		if q.secret {
			values[q.fileFlag()] = f.String(q.fileFlag(), "", "a `FILE` that holds it, where no other user sees it")
		}
	}
	cmd.Run = func(ctx context.Context, _ []string) error {
		for _, q := range r.questions {
			switch {
			case f.Changed(q.flag) && f.Changed(q.fileFlag()):
				return cli.Usagef("give one of --%s and --%s", q.flag, q.fileFlag())
			case f.Changed(q.flag):
				given[q.flag] = *values[q.flag]
			case f.Changed(q.fileFlag()):
				text, err := os.ReadFile(*values[q.fileFlag()])
				if err != nil {
					return fmt.Errorf("read --%s: %w", q.fileFlag(), err)
				}
				given[q.flag] = string(text)
			}
		}
		s := &session{IO: world, role: r, lang: language(world), config: config, folder: filepath.Dir(config), answers: given}
		if world.InTerminal {
			s.in = bufio.NewReader(world.In)
		}
		return s.run(ctx, force)
	}
	return cmd
}

func (q *question) fileFlag() string { return q.flag + "-file" }

func (q *question) help() string {
	text := q.text[english]
	if q.example != "" {
		text += ", as " + q.example
	}
	if q.value != "" {
		text += " (default " + q.value + ")"
	}
	return text
}

func (s *session) run(ctx context.Context, force bool) error {
	if err := free(s.config, force); err != nil {
		return err
	}
	if err := s.recall(); err != nil {
		return err
	}
	if err := s.ask(); err != nil {
		return err
	}
	d := s.write(s.answers)
	if problems := s.check(s.config, d.whole()); problems.Failed() {
		for _, p := range problems.Errors() {
			fmt.Fprintln(s.Err, reasons.Problem(s.IO, p))
		}
		return errors.New("nothing was written: with these answers the configuration is wrong")
	}
	files := append(d.secrets(s.folder), file{s.config, d.named(s.folder)})
	for _, f := range files {
		if err := free(f.path, force || s.holds(f)); err != nil {
			return err
		}
	}
	s.try(ctx, s, d.whole())
	if err := s.put(files); err != nil {
		return err
	}
	s.next(s)
	return nil
}

// recall answers a question by the file that is kept: without what it holds nobody reads
// what is stored, so another answer is refused.
func (s *session) recall() error {
	for _, q := range s.questions {
		if q.kept == "" {
			continue
		}
		path := filepath.Join(s.folder, q.kept)
		text, err := durable.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read what is kept: %w", err)
		}
		is := strings.TrimSpace(string(text))
		if given, ok := s.answers[q.flag]; ok && strings.TrimSpace(given) != is {
			return fmt.Errorf("nothing was written: %s holds another one than --%s, and what is stored cannot be read without it: move it away yourself if nobody needs it any more", path, q.flag)
		}
		s.answers[q.flag] = is
	}
	return nil
}

// holds reports whether a file is one that is kept: recall saw to it that what is to be
// written is what it holds.
func (s *session) holds(f file) bool {
	return slices.ContainsFunc(s.questions, func(q question) bool { return q.kept != "" && q.kept == filepath.Base(f.path) })
}

// free finds out that a file is not there yet.
func free(path string, force bool) error {
	_, err := os.Lstat(path)
	switch {
	case force || errors.Is(err, fs.ErrNotExist):
		return nil
	case err == nil:
		return fmt.Errorf("nothing was written: %s is there already; --force overwrites it", path)
	}
	return fmt.Errorf("look whether a file is there: %w", err)
}

// ask fills in what no flag answered.
func (s *session) ask() error {
	var missing []string
	for i := range s.questions {
		q := &s.questions[i]
		if v, ok := s.answers[q.flag]; ok {
			v = strings.TrimSpace(v)
			if err := q.accepts(v); err != nil {
				return cli.Usagef("--%s: %w", q.flag, err)
			}
			s.answers[q.flag] = v
			continue
		}
		if q.unless != nil && q.unless(s.answers) {
			continue
		}
		if s.in != nil {
			if err := s.askOne(q); err != nil {
				return err
			}
			continue
		}
		if q.value == "" && !q.optional {
			missing = append(missing, "--"+q.flag)
		}
		s.answers[q.flag] = q.value
	}
	if len(missing) > 0 {
		return cli.Usagef("nobody is at a terminal to be asked: give %s", strings.Join(missing, ", "))
	}
	return nil
}

func (q *question) accepts(v string) error {
	switch {
	case v == "" && !q.optional:
		return errors.New("must not be empty")
	case strings.ContainsFunc(v, unicode.IsControl):
		return errors.New("must be one line of text")
	case v == "" || q.check == nil:
		return nil
	}
	return q.check(v)
}

func (s *session) askOne(q *question) error {
	for {
		fmt.Fprint(s.Err, q.text[s.lang])
		if hint := q.value; hint != "" {
			fmt.Fprintf(s.Err, " [%s]", hint)
		} else if q.optional {
			fmt.Fprint(s.Err, say(s.lang, " [none]", " [无]"))
		}
		fmt.Fprint(s.Err, ": ")
		line, err := s.in.ReadString('\n')
		if err != nil && (!errors.Is(err, io.EOF) || line == "") {
			return errors.New("nothing was written: the questions were not all answered")
		}
		v := strings.TrimSpace(line)
		if v == "" {
			v = q.value
		}
		if err := q.accepts(v); err != nil {
			fmt.Fprintf(s.Err, "  %v\n", err)
			continue
		}
		s.answers[q.flag] = v
		return nil
	}
}

// makeFolder makes a folder that the service may look into, whatever the umask.
func makeFolder(path string) error {
	_, err := os.Stat(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	return os.Chmod(path, 0o755)
}

// put writes whole files, with the rights that the service needs and no more.
func (s *session) put(files []file) error {
	if err := makeFolder(s.folder); err != nil {
		return fmt.Errorf("make %s: %w", s.folder, err)
	}
	mode, gid := fs.FileMode(0o600), -1
	if g, err := user.LookupGroup(s.group); err == nil && os.Geteuid() == 0 {
		if gid, err = strconv.Atoi(g.Gid); err != nil {
			return fmt.Errorf("group %s: %w", s.group, err)
		}
		mode = 0o640
	}
	for _, f := range files {
		err := durable.Build(f.path, func(temp string) error {
			err := os.WriteFile(temp, f.text, 0o600)
			if err == nil {
				err = os.Chmod(temp, mode)
			}
			if err == nil && gid >= 0 {
				err = os.Chown(temp, 0, gid)
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("write %s: %w", f.path, err)
		}
	}
	for _, f := range files { // who reads this may leave, which ends the program
		fmt.Fprintf(s.Out, say(s.lang, "wrote   %s\n", "已写入  %s\n"), f.path)
	}
	return nil
}

// tried prints what was found out about an answer.
func (s *session) tried(what string, err error, good, advice string) {
	if err == nil {
		fmt.Fprintf(s.Out, "%-7s %s: %s\n", say(s.lang, "ok", "正常"), what, good)
		return
	}
	fmt.Fprintf(s.Out, "%-7s %s: %v\n        %s\n", say(s.lang, "LOOK", "注意"), what, err, advice)
}
