package store

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"scanrelay/store/durable"
)

// A folder that stands where the store has a file holds nothing of the store's: it is
// moved aside with what is in it, and the store goes on as if the file were not there.
func TestFoldersInThePlaceOfFiles(t *testing.T) {
	full := fastDir(t)
	o := open(t, full, small(newTestClock()))
	mustAppend(t, o, newEvent("YT00000001", "e1", 1000))
	closeChecked(t, o)
	files, err := os.ReadDir(full)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"outbox.state.tmp", "outbox.checkpoint.before", "segment-00000002.db", "segment-00000002.db.tmp", "segment-00000002.register"}
	for _, f := range files {
		if !isFile(f.Name()) {
			t.Errorf("%s is not known as a file of the store", f.Name())
		}
		names = append(names, f.Name())
	}
	if len(names) < 9 {
		t.Fatalf("the store has %v", names)
	}
	for _, name := range names {
		dir := copied(t, full)
		path := filepath.Join(dir, name)
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		for _, folder := range []string{path, filepath.Join(dir, "somebody's.tmp")} {
			if err := os.MkdirAll(filepath.Join(folder, "within"), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		o, err := Open(dir, small(newTestClock()))
		if !durable.Exists(filepath.Join(path+durable.FolderSuffix, "within")) || !durable.Exists(filepath.Join(dir, "somebody's.tmp", "within")) {
			t.Errorf("%s: a folder is gone, or in the way", name)
		}
		if strings.HasPrefix(name, "outbox.key") { // without which nothing can be read
			if err == nil || !strings.Contains(err.Error(), "wrong or missing key") {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		lost := name == "segment-00000001.db"
		if c := o.Counts(); (c.State[Unsynced] == 1) == lost || lost && c.Damaged == "" {
			t.Errorf("%s: %+v", name, c)
		}
		if err := o.Close(context.Background()); err != nil {
			t.Errorf("%s: close: %v", name, err)
		}
	}
}
