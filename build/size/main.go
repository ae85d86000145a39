package main

import (
	"debug/buildinfo"
	"debug/elf"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
)

func main() {
	var l limits
	flag.Int64Var(&l.plain, "limit", 12_500_000, "bytes that the first binary may have")
	flag.Int64Var(&l.packed, "xz-limit", 3_800_000, "bytes that it may have under xz -9")
	symbols := flag.String("symbols", "", "the same build unstripped: its symbols tell what each library costs")
	flag.Parse()
	if err := run(os.Stdout, l, *symbols, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "size:", err)
		os.Exit(1)
	}
}

// limits are in bytes.
type limits struct{ plain, packed int64 }

// run prints both tables; the first binary is the one the limits are for.
func run(out io.Writer, l limits, symbols string, binaries []string) error {
	if len(binaries) == 0 {
		return errors.New("no binary given")
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	shares, err := moduleSizes(symbols)
	if err != nil {
		return fmt.Errorf("read symbols: %w", err)
	}
	fmt.Fprintf(w, "MB\tof which code and data of\t\n")
	for _, s := range shares {
		fmt.Fprintf(w, "%.2f\t%s\t\n", megabytes(s.bytes), s.name)
	}
	fmt.Fprintf(w, "\t\t\nMB\tstripped binary\t\n")
	for _, path := range slices.Compact(slices.Sorted(slices.Values(binaries))) {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%.2f\t%s\t\n", megabytes(info.Size()), filepath.Base(path))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return checkLimits(out, binaries[0], l)
}

// checkLimits prints both sizes of a binary beside their limits, and fails if
// either is above its own.
func checkLimits(out io.Writer, path string, l limits) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	packed, err := packedSize(path)
	if err != nil {
		return fmt.Errorf("compress %s: %w", path, err)
	}
	name := filepath.Base(path)
	return errors.Join(
		checkLimit(out, name, info.Size(), l.plain),
		checkLimit(out, name+" under xz -9", packed, l.packed))
}

func checkLimit(out io.Writer, what string, size, limit int64) error {
	fmt.Fprintf(out, "%s: %d bytes, limit %d\n", what, size, limit)
	if size > limit {
		return fmt.Errorf("%s has %d bytes, the limit is %d", what, size, limit)
	}
	return nil
}

// packedSize returns what the real xz makes of a file, in bytes. One thread, so
// that every machine gets the same.
func packedSize(path string) (int64, error) {
	packed, err := exec.Command("xz", "-9", "--threads=1", "--stdout", path).Output()
	return int64(len(packed)), err
}

func megabytes(n int64) float64 { return float64(n) / 1e6 }

// share is what the symbols of one module, or of the rest, come to.
type share struct {
	name  string
	bytes int64
}

// moduleSizes adds up the symbols of an unstripped ELF file by module, largest
// first. The tables that the Go runtime keeps about all code count as one.
func moduleSizes(path string) ([]share, error) {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return nil, err
	}
	file, err := elf.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close() // opened for reading: nothing to lose
	list, err := file.Symbols()
	if err != nil {
		return nil, err
	}
	modules := []string{info.Main.Path}
	for _, dep := range info.Deps {
		modules = append(modules, dep.Path)
	}
	sums := map[string]int64{}
	for _, s := range list {
		if inFile(file, s) {
			sums[owner(s.Name, modules)] += int64(s.Size)
		}
	}
	var shares []share
	for name, n := range sums {
		shares = append(shares, share{name, n})
	}
	slices.SortFunc(shares, func(a, b share) int { return int(b.bytes - a.bytes) })
	return shares, nil
}

// inFile reports whether a symbol takes bytes of the file: code or data, and not
// what is zero until the program runs.
func inFile(file *elf.File, s elf.Symbol) bool {
	if kind := elf.ST_TYPE(s.Info); kind != elf.STT_FUNC && kind != elf.STT_OBJECT {
		return false
	}
	return int(s.Section) < len(file.Sections) && file.Sections[s.Section].Type != elf.SHT_NOBITS
}

// owner names the module that a symbol belongs to.
func owner(symbol string, modules []string) string {
	symbol = strings.ReplaceAll(symbol, "%2e", ".") // a dot after the last slash
	best := ""
	for _, m := range modules {
		if len(m) > len(best) && (strings.HasPrefix(symbol, m+".") || strings.HasPrefix(symbol, m+"/")) {
			best = m
		}
	}
	switch {
	case best != "":
		return best
	case strings.HasPrefix(symbol, "main."):
		return modules[0]
	case strings.HasPrefix(symbol, "runtime.pclntab"), strings.HasPrefix(symbol, "type:"), strings.HasPrefix(symbol, "go:"):
		return "tables of the Go runtime"
	default:
		return "standard library"
	}
}
