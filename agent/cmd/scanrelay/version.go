package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"

	"scanrelay/agent/cmd/cli"
)

// Set by -ldflags -X; what is left empty comes from the build information.
var version, commit, date string

// build says what this binary is.
type build struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Date    string `json:"date"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

func thisBuild() build {
	b := build{Version: version, Commit: commit, Date: date, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision" && b.Commit == "":
				b.Commit = s.Value
			case s.Key == "vcs.time" && b.Date == "":
				b.Date = s.Value
			}
		}
		if b.Version == "" && info.Main.Version != "(devel)" {
			b.Version = info.Main.Version
		}
	}
	for _, f := range []*string{&b.Commit, &b.Date} {
		if *f == "" {
			*f = "unknown"
		}
	}
	if b.Version == "" {
		b.Version = "dev"
	}
	return b
}

// built returns the build date; zero if unknown.
func (b build) built() time.Time {
	t, err := time.Parse(time.RFC3339, b.Date)
	if err != nil {
		return time.Time{}
	}
	return t
}

func (a *app) versionCommand() *cli.Command {
	var asJSON bool
	cmd := &cli.Command{
		Use:   "version",
		Short: "Say what this program is",
		Args:  cli.NoArgs,
		Run: func(context.Context, []string) error {
			b := thisBuild()
			if asJSON {
				return a.JSON(b)
			}
			_, err := fmt.Fprintf(a.Out, "scanrelay %s\ncommit %s\nbuilt %s\n%s %s/%s\n", b.Version, b.Commit, b.Date, b.Go, b.OS, b.Arch)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
