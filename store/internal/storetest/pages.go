package storetest

import (
	"encoding/binary"
	"os"
	"strings"
	"testing"
)

// PageSize is that of all bbolt files.
const PageSize = 4096

// Pages are a bbolt file's pages by what they are: "meta", "root leaf",
// "events branch", "lower events leaf", "lower events overflow", …, "free".
type Pages struct {
	Kinds map[string][]int64
	High  int64 // pages that were ever in use
}

// pageWalk sorts the pages of a sound file.
type pageWalk struct {
	file  []byte
	kinds map[string][]int64
	seen  map[int64]bool
}

// PagesOf reads a file that is sound.
func PagesOf(t *testing.T, path string) Pages {
	t.Helper()
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	meta := file[16:]
	if other := file[PageSize+16:]; word64(other[48:]) > word64(meta[48:]) { // the later transaction
		meta = other
	}
	w := pageWalk{file, map[string][]int64{"meta": {0, 1}}, map[int64]bool{}}
	w.tree("root", int64(word64(meta[16:])))
	high := int64(word64(meta[40:]))
	for id := int64(2); id < high; id++ {
		if !w.seen[id] {
			w.kinds["free"] = append(w.kinds["free"], id)
		}
	}
	return Pages{w.kinds, high}
}

func (w *pageWalk) tree(what string, id int64) {
	page := w.file[id*PageSize:]
	branch := binary.NativeEndian.Uint16(page[8:]) == 1
	name := what + " leaf"
	if branch {
		name = what + " branch"
	}
	w.is(name, id)
	for i := range int64(word32(page[12:])) {
		w.is(what+" overflow", id+1+i)
	}
	for i := range int(binary.NativeEndian.Uint16(page[10:])) {
		element := page[16+16*i:]
		if branch {
			w.tree("lower "+strings.TrimPrefix(what, "lower "), int64(word64(element[8:])))
			continue
		}
		if what != "root" {
			continue
		}
		key := element[word32(element[4:]):]
		ksize := word32(element[8:])
		if root := int64(word64(key[ksize:])); root != 0 {
			w.tree(string(key[:ksize]), root)
		}
	}
}

func (w *pageWalk) is(kind string, id int64) {
	w.kinds[kind] = append(w.kinds[kind], id)
	w.seen[id] = true
}

func word32(b []byte) uint32 { return binary.NativeEndian.Uint32(b) }
func word64(b []byte) uint64 { return binary.NativeEndian.Uint64(b) }
