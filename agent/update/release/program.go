package release

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/buildinfo"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"scanrelay/agent/update/trust"
	"scanrelay/configs/textfile"
)

// maxProgram bounds a program, and what it comes in.
const maxProgram = 256 << 20

// Program reads a program from a file: itself, or what a Debian package or an archive has
// at the place where it is installed.
func Program(file, name string) ([]byte, error) {
	content, err := read(file)
	if err != nil {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(content, []byte(elf.ELFMAG)):
		return content, nil
	case bytes.HasPrefix(content, []byte(debMagic)):
		content, err = fromPackage(content, name)
	case bytes.HasPrefix(content, []byte("\x1f\x8b")):
		content, err = fromArchive(content, name)
	default:
		err = errors.New("it is no program (ELF), Debian package or .tar.gz")
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Base(file), err)
	}
	return content, nil
}

func read(file string) ([]byte, error) {
	content, err := textfile.Read(file, maxProgram)
	if err != nil {
		return nil, fmt.Errorf("read program: %w", err)
	}
	return content, nil
}

const debMagic = "!<arch>\n"

// fromPackage finds data.tar.gz in an ar archive: files behind headers of 60 bytes with
// name and size, each at an even place.
func fromPackage(content []byte, name string) ([]byte, error) {
	for rest := content[len(debMagic):]; len(rest) >= 60; {
		member := strings.TrimRight(string(rest[:16]), " /")
		size, err := strconv.Atoi(strings.TrimSpace(string(rest[48:58])))
		rest = rest[60:]
		if err != nil || size < 0 || size > len(rest) {
			return nil, errors.New("the package is damaged")
		}
		if member == "data.tar.gz" {
			return fromArchive(rest[:size], name)
		}
		if strings.HasPrefix(member, "data.tar.") {
			return nil, fmt.Errorf("the package is compressed as %s; only .gz is read", member)
		}
		rest = rest[min(size+size%2, len(rest)):]
	}
	return nil, errors.New("the package has no data")
}

func fromArchive(content []byte, name string) (program []byte, err error) {
	z, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	for t := tar.NewReader(io.LimitReader(z, 2*maxProgram)); ; {
		h, err := t.Next()
		if err == io.EOF && program != nil {
			return program, nil
		}
		if err == io.EOF {
			return nil, fmt.Errorf("it has no program of the name %s", name)
		}
		if err != nil {
			return nil, fmt.Errorf("unpack: %w", err)
		}
		if path.Base(h.Name) != name || h.Typeflag != tar.TypeReg {
			continue
		}
		found, err := io.ReadAll(io.LimitReader(t, maxProgram))
		if err != nil {
			return nil, fmt.Errorf("unpack %s: %w", name, err)
		}
		if !bytes.HasPrefix(found, []byte(elf.ELFMAG)) {
			continue // a script or a page of the same name
		}
		if program != nil {
			return nil, fmt.Errorf("it has two programs of the name %s", name)
		}
		program = found
	}
}

// architectures are Go's names of what an ELF header says.
var architectures = map[elf.Machine]string{
	elf.EM_ARM: "arm", elf.EM_AARCH64: "arm64", elf.EM_X86_64: "amd64", elf.EM_386: "386", elf.EM_RISCV: "riscv64",
}

// Machine reads from a program what it is for: os and arch from its ELF header, GOARM,
// which is not there, from what Go's linker wrote down, or as given.
func Machine(program []byte, goarm string) (c trust.Custom, err error) {
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return c, fmt.Errorf("read ELF header: %w", err)
	}
	c.Arch = architectures[f.Machine]
	switch {
	case f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN:
		return c, fmt.Errorf("read ELF header: it is no program, but %v", f.Type)
	case c.Arch == "" || f.Data != elf.ELFDATA2LSB || (f.Class == elf.ELFCLASS64) != (c.Arch != "arm" && c.Arch != "386"):
		return c, fmt.Errorf("read ELF header: no gateway is a %v of %v, %v", f.Machine, f.Class, f.Data)
	case f.OSABI != elf.ELFOSABI_NONE && f.OSABI != elf.ELFOSABI_LINUX:
		return c, fmt.Errorf("read ELF header: it is for %v, not linux", f.OSABI)
	}
	c.OS = "linux"
	if info, err := buildinfo.Read(bytes.NewReader(program)); err == nil {
		for _, s := range info.Settings {
			switch {
			case s.Key == "GOARM" && goarm == "":
				goarm, _, _ = strings.Cut(s.Value, ",") // 6,softfloat
			case s.Key == "GOOS" && s.Value != c.OS:
				return c, fmt.Errorf("read build information: it is for %s, not linux", s.Value)
			case s.Key == "GOARCH" && s.Value != c.Arch:
				return c, fmt.Errorf("read build information: it is for %s, the ELF header says %s", s.Value, c.Arch)
			}
		}
	}
	if c.Arch == "arm" {
		if c.GOARM = goarm; goarm == "" {
			return c, errors.New("read build information: it does not say for which GOARM it was built: give it")
		}
	}
	return c, nil
}
