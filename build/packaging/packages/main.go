// Command packages makes what is installed from the binaries of make cross: Debian
// packages, archives for other Linux, their SBOMs and their checksums. The same
// binaries and commit give the same bytes wherever it runs.
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
)

// kind is what one package is of.
type kind struct {
	name, role, user, lib string
	priority              string // as the alternative of /usr/bin/scanrelay
	about                 string
	bin                   string   // what /usr/bin/scanrelay is
	units                 string   // besides the service: what starts and stops with it
	secrets               string   // files that init or a person writes
	examples              []string // of configs, for /usr/share/scanrelay
	binaries              map[string]string
}

var kinds = []kind{{
	name: "scanrelay-agent", role: "agent", user: "scanrelay", lib: "scanrelay", priority: "10",
	about: `scans of parcels from a depot to WeChat: the depot's agent
Takes scan events from scanners over MQTT, keeps them on disk before it
acknowledges them, syncs them to the carrier's centre and pushes them to the
receivers' WeChat. It goes on taking scans for days without the network.`,
	bin: "/var/lib/scanrelay-versions/current/scanrelay", units: "scanrelay-install.path",
	secrets: "enrol-token depot-token scanner.password update-root.json", examples: []string{"agent.example.yaml", "mosquitto.conf", "sources"},
	binaries: map[string]string{"armhf": "gateway-linux-armv6", "arm64": "gateway-linux-arm64", "amd64": "gateway-linux-amd64", "riscv64": "gateway-linux-riscv64"},
}, {
	name: "scanrelay-central", role: "central", user: "scanrelay-central", lib: "scanrelay-central", priority: "20",
	about: `scans of parcels from depots to WeChat: the carrier's centre
Takes the events of all depots into its snapshot, answers WeChat's reverse
lookup from it, and gives the depots what a push needs. It has the fleet page.`,
	bin:     "/usr/lib/scanrelay-central/scanrelay",
	secrets: "appsecret callback-token encoding-aes-key admin-token database-dsn", examples: []string{"central.example.yaml", "wechat-faults.example.yaml"},
	binaries: map[string]string{"amd64": "linux-amd64", "arm64": "linux-arm64"},
}}

func main() {
	version := flag.String("version", "", "the `VERSION`, semantic")
	date := flag.String("date", "", "of the commit, RFC 3339")
	root := flag.String("root", "../../..", "the `FOLDER` of the project")
	flag.Parse()
	if err := run(*root, *version, *date); err != nil {
		fmt.Fprintln(os.Stderr, "packages:", err)
		os.Exit(1)
	}
}

// maker makes packages of one commit.
type maker struct {
	root, dist, version string
	date                time.Time
	made                []string
}

func run(root, version, date string) error {
	at, err := time.Parse(time.RFC3339, date)
	if err != nil {
		return fmt.Errorf("date of the commit: %w", err)
	}
	m := &maker{root: root, dist: filepath.Join(root, "build", "dist"), version: version, date: at}
	for _, k := range kinds {
		for _, arch := range []string{"armhf", "arm64", "amd64", "riscv64"} {
			if binary, ok := k.binaries[arch]; ok {
				if err := m.pack(k, arch, filepath.Join(m.dist, "scanrelay-"+binary)); err != nil {
					return fmt.Errorf("package %s of %s: %w", k.name, arch, err)
				}
			}
		}
	}
	return m.sums()
}

// file is one that is installed.
type file struct {
	path string // without the slash at the beginning
	mode fs.FileMode
	body []byte
}

func (m *maker) pack(k kind, arch, binary string) error {
	installed, err := m.files(k, binary)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%s_%s_%s", k.name, m.version, arch)
	if err := m.sbom(k, binary, name+".cdx.json"); err != nil {
		return err
	}
	if err := m.archive(k, installed, name); err != nil {
		return err
	}
	return m.debian(k, arch, installed, name+".deb")
}

// files are what both forms of a package install.
func (m *maker) files(k kind, binary string) (list []file, err error) {
	add := func(path string, mode fs.FileMode, body []byte, problem error) {
		err = errors.Join(err, problem)
		list = append(list, file{path, mode, body})
	}
	source := func(path string, names ...string) {
		body, problem := os.ReadFile(filepath.Join(append([]string{m.root}, names...)...))
		add(path, 0o644, body, problem)
	}
	program, problem := os.ReadFile(binary)
	add("usr/lib/"+k.lib+"/scanrelay", 0o755, program, problem)
	source("usr/lib/systemd/system/"+k.name+".service", "build", "packaging", k.name+".service")
	if k.role == "agent" {
		for _, unit := range []string{"scanrelay-install.service", "scanrelay-install.path"} {
			source("usr/lib/systemd/system/"+unit, "build", "packaging", unit)
		}
	}
	source("usr/lib/sysusers.d/"+k.name+".conf", "build", "packaging", k.name+".sysusers")
	for _, example := range k.examples {
		problem := filepath.WalkDir(filepath.Join(m.root, "configs", example), func(at string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			below, err := filepath.Rel(filepath.Join(m.root, "configs"), at)
			source("usr/share/scanrelay/"+filepath.ToSlash(below), "configs", below)
			return err
		})
		err = errors.Join(err, problem)
	}
	if k.role == "agent" {
		guides, problem := filepath.Glob(filepath.Join(m.root, "agent", "README.*.md")) // in other languages
		err = errors.Join(err, problem)
		for _, at := range guides {
			source("usr/share/scanrelay/"+filepath.Base(at), "agent", filepath.Base(at))
		}
	}
	for name, args := range map[string][]string{
		"scanrelay.1.gz": {"man"}, "completion.bash": {"completion", "bash"}, "completion.zsh": {"completion", "zsh"}, "completion.fish": {"completion", "fish"},
	} {
		body, problem := m.says(k, args...)
		if strings.HasSuffix(name, ".gz") {
			body = packed(body)
		}
		add("usr/lib/"+k.lib+"/"+name, 0o644, body, problem)
	}
	// Static on purpose: it runs on whatever a gateway has.
	add("usr/share/lintian/overrides/"+k.name, 0o644, []byte(k.name+": statically-linked-binary [usr/lib/"+k.lib+"/scanrelay]\n"), nil)
	changelog, problem := os.ReadFile(filepath.Join(m.root, "build", "packaging", "changelog"))
	changelog = bytes.ReplaceAll(changelog, []byte("scanrelay ("), []byte(k.name+" ("))
	add("usr/share/doc/"+k.name+"/changelog.gz", 0o644, packed(changelog), problem)
	licences, problem := m.copyright(binary)
	add("usr/share/doc/"+k.name+"/copyright", 0o644, licences, problem)
	slices.SortFunc(list, func(a, b file) int { return strings.Compare(a.path, b.path) })
	return list, err
}

// says runs the package's own program, built for this machine, as a command of it
// prints its manual page and completions.
func (m *maker) says(k kind, args ...string) ([]byte, error) {
	out, err := exec.Command(filepath.Join(m.root, "build", "bin", "says-"+k.role), args...).Output()
	if err != nil {
		return nil, fmt.Errorf("print %s: %w", strings.Join(args, " "), err)
	}
	return out, nil
}

// packed is gzip -9n.
func packed(b []byte) []byte {
	var out bytes.Buffer
	z, _ := gzip.NewWriterLevel(&out, gzip.BestCompression) // a level that exists
	_, _ = z.Write(b)                                       // into memory
	_ = z.Close()
	return out.Bytes()
}

// apache is a text that Debian has, so that its packages point at it.
var apache = regexp.MustCompile(`(?s)Apache License\s+Version 2\.0, January 2004.*?END OF TERMS AND CONDITIONS`)

// debian makes a .deb. What a release is not yet comes before it in Debian's order.
func (m *maker) debian(k kind, arch string, installed []file, name string) error {
	temp, err := os.MkdirTemp("", "scanrelay-package-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	var contents files.Contents
	for _, f := range installed {
		if path.Base(f.path) == "copyright" {
			f.body = apache.ReplaceAll(f.body, []byte("The Apache License, Version 2.0, of /usr/share/common-licenses/Apache-2.0"))
		}
		at := filepath.Join(temp, filepath.FromSlash(f.path))
		if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, f.body, f.mode)); err != nil {
			return err
		}
		contents = append(contents, &files.Content{
			Source: at, Destination: "/" + f.path, FileInfo: &files.ContentFileInfo{Owner: "root", Group: "root", Mode: f.mode, MTime: m.date},
		})
	}
	// The last four are where postinst puts links, on systems that lack these folders.
	dirs := []string{
		"/etc/scanrelay", "/usr/share/man/man1", "/usr/share/bash-completion/completions", "/usr/share/zsh/vendor-completions", "/usr/share/fish/vendor_completions.d",
	}
	if k.role == "agent" {
		dirs = append(dirs, "/etc/scanrelay/sources.d") // the administrator's
	}
	for _, dir := range dirs {
		contents = append(contents, &files.Content{
			Destination: dir, Type: files.TypeDir, FileInfo: &files.ContentFileInfo{Owner: "root", Group: "root", Mode: 0o755, MTime: m.date},
		})
	}
	scripts := map[string]string{}
	for _, script := range []string{"postinst", "prerm", "postrm"} {
		text, err := m.script(k, script)
		if err != nil {
			return err
		}
		scripts[script] = filepath.Join(temp, script)
		if err := os.WriteFile(scripts[script], text, 0o755); err != nil {
			return err
		}
	}
	info := nfpm.WithDefaults(&nfpm.Info{
		Name: k.name, Arch: arch, Platform: "linux", Version: strings.Replace(m.version, "-", "~", 1), VersionSchema: "none",
		Section: "net", Priority: "optional", Maintainer: "The scanrelay maintainers <maintainers@scanrelay.invalid>",
		Description: k.about, MTime: m.date,
		Overridables: nfpm.Overridables{
			Contents: contents, Depends: []string{"init-system-helpers (>= 1.54)"}, Recommends: []string{"systemd", "ca-certificates"},
			Scripts: nfpm.Scripts{PostInstall: scripts["postinst"], PreRemove: scripts["prerm"], PostRemove: scripts["postrm"]},
			Deb:     nfpm.Deb{Arch: arch, Compression: "xz"},
		},
	})
	info.Overridables.Umask = 0
	if err := nfpm.PrepareForPackager(info, "deb"); err != nil {
		return err
	}
	var out bytes.Buffer
	if err := deb.Default.Package(info, &out); err != nil {
		return err
	}
	return m.write(name, out.Bytes())
}

// script is a maintainer's script with the package's names in it.
func (m *maker) script(k kind, name string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(m.root, "build", "packaging", name))
	if err != nil {
		return nil, err
	}
	r := strings.NewReplacer("NAME", k.name, "USER", k.user, "ROLE", k.role, "LIB", k.lib, "PRIORITY", k.priority, "SECRETS", k.secrets, "BINARY", k.bin, "UNITS", strings.TrimSpace(k.name+".service "+k.units))
	return []byte(r.Replace(string(text))), nil
}

// archive makes a .tar.gz with an install.sh.
func (m *maker) archive(k kind, installed []file, name string) error {
	script, err := m.script(k, "install.sh")
	if err != nil {
		return err
	}
	var out bytes.Buffer
	t := tar.NewWriter(&out)
	made := map[string]bool{}
	add := func(f file) error {
		for dir := range ancestors(f.path) {
			if made[dir] {
				continue
			}
			made[dir] = true
			if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755, ModTime: m.date}); err != nil {
				return err
			}
		}
		err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.path, Mode: int64(f.mode), Size: int64(len(f.body)), ModTime: m.date})
		if err == nil {
			_, err = t.Write(f.body)
		}
		return err
	}
	for _, f := range append([]file{{"install.sh", 0o755, script}}, installed...) {
		f.path = name + "/" + f.path
		if err := add(f); err != nil {
			return err
		}
	}
	if err := t.Close(); err != nil {
		return err
	}
	return m.write(name+".tar.gz", packed(out.Bytes()))
}

// ancestors gives the folders above a path, the outermost first.
func ancestors(p string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for i, c := range path.Dir(p) + "/" {
			if c == '/' && !yield(p[:i]) {
				return
			}
		}
	}
}

// component is one of an SBOM in CycloneDX 1.5.
type component struct {
	Type    string `json:"type"`
	Name    string `json:"name"`
	Version string `json:"version"`
	PURL    string `json:"purl,omitempty"`
}

// sbom writes what a binary is made of, as the binary itself says.
func (m *maker) sbom(k kind, binary, name string) error {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return err
	}
	parts := []component{{"library", "stdlib", strings.TrimPrefix(info.GoVersion, "go"), "pkg:golang/stdlib@" + strings.TrimPrefix(info.GoVersion, "go")}}
	for _, d := range info.Deps {
		parts = append(parts, component{"library", d.Path, d.Version, "pkg:golang/" + d.Path + "@" + d.Version})
	}
	body, err := json.MarshalIndent(map[string]any{
		"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
		"metadata": map[string]any{
			"timestamp": m.date.UTC().Format(time.RFC3339),
			"component": component{Type: "application", Name: k.name, Version: m.version},
		},
		"components": parts,
	}, "", "  ")
	if err != nil {
		return err
	}
	return m.write(name, append(body, '\n'))
}

// copyright has the licences of all that a binary is made of, as their modules give
// them. What scanrelay itself may be used for its owner says.
func (m *maker) copyright(binary string) ([]byte, error) {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("find Go's own licence: %w", err)
	}
	var b bytes.Buffer
	b.WriteString("scanrelay is its owner's, who says how it may be used.\n\nIt holds the works below, under their licences.\n")
	add := func(name, dir string) error {
		var found []string
		for _, pattern := range []string{"LICENSE*", "LICENCE*", "COPYING*", "NOTICE*"} {
			names, err := filepath.Glob(filepath.Join(dir, pattern))
			if err != nil {
				return err
			}
			found = append(found, names...)
		}
		if len(found) == 0 {
			return fmt.Errorf("%s has no licence in its folder", name)
		}
		for _, f := range found {
			text, err := os.ReadFile(f)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, "\n%s\n%s (%s)\n\n%s\n", strings.Repeat("=", 72), name, filepath.Base(f), bytes.TrimSpace(text))
		}
		return nil
	}
	if err := add("The Go standard library", strings.TrimSpace(string(goroot))); err != nil {
		return nil, err
	}
	for _, d := range info.Deps {
		list := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", d.Path)
		list.Dir = m.root
		dir, err := list.Output()
		if err != nil {
			return nil, fmt.Errorf("find module %s: %w", d.Path, err)
		}
		if err := add(d.Path+" "+d.Version, strings.TrimSpace(string(dir))); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

func (m *maker) write(name string, body []byte) error {
	m.made = append(m.made, name)
	return os.WriteFile(filepath.Join(m.dist, name), body, 0o644)
}

// sums writes SHA256SUMS, as sha256sum -c reads it.
func (m *maker) sums() error {
	var b bytes.Buffer
	slices.Sort(m.made)
	for _, name := range m.made {
		body, err := os.ReadFile(filepath.Join(m.dist, name))
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%x  %s\n", sha256.Sum256(body), name)
		fmt.Printf("%12d  %s\n", len(body), name)
	}
	return os.WriteFile(filepath.Join(m.dist, "SHA256SUMS"), b.Bytes(), 0o644)
}
