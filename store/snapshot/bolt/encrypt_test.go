package bolt_test

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/bolt"
)

// personal are texts that no file may show.
type personal []string

// shown counts those of them that a folder's files show, whatever is in them.
func (p personal) shown(t *testing.T, dir string) (n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return gone(err)
		}
		b, err := os.ReadFile(path)
		for _, text := range p {
			if bytes.Contains(b, []byte(text)) {
				n++
			}
		}
		return gone(err)
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// gone leaves out that a file is there no more: log.db is made under another name while
// the store is looked at.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// personalOf is what a store that was dumped holds of it, the secret of phones included.
func personalOf(t *testing.T, dir, dumped string) (p personal) {
	t.Helper()
	for line := range strings.Lines(dumped) {
		for _, text := range strings.FieldsFunc(line, func(r rune) bool { return r == '|' || r == ' ' || r == '\n' }) {
			if strings.ContainsFunc(text, func(r rune) bool { return r > 0x7f }) || strings.HasPrefix(text, "13") && len(text) == 11 {
				p = append(p, text)
			}
		}
	}
	db, err := bbolt.Open(filepath.Join(dir, "waybills.db"), 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.View(func(tx *bbolt.Tx) error {
		p = append(p, string(tx.Bucket([]byte("meta")).Get([]byte("phone_key"))))
		return nil
	})
	if err != nil || len(p[len(p)-1]) != 32 || len(p) < 10 {
		t.Fatal(p, err)
	}
	return p
}

func copyFolder(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	for _, name := range []string{"centre.key", "log.db", "waybills.db"} {
		b, err := os.ReadFile(filepath.Join(from, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// encrypted calls Forget until all is, and step after each call.
func encrypted(t *testing.T, dir string, step func(s *bolt.Store)) {
	t.Helper()
	var log bytes.Buffer
	s, err := bolt.Open(dir, bolt.InSmallSteps(bolt.Options{MergeEvery: time.Hour, Logger: slog.New(slog.NewTextHandler(&log, nil))}))
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Minute); !strings.Contains(log.String(), "is encrypted now"); {
		if _, err := s.Forget(t.Context(), snapshot.Retention{Keep: 1 << 60}); err != nil || time.Now().After(end) {
			t.Fatal(err, log.String())
		}
		if step != nil {
			step(s)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestClearIsEncrypted: a store that a version before wrote is read as it was, and after
// a while no file shows anything personal of it, nor the secret of phones, wherever it is
// killed meanwhile. A copy of it shows nothing, either.
func TestClearIsEncrypted(t *testing.T) {
	for _, name := range []string{"7b28d06", "e2ce6cb"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			unpack(t, "testdata/"+name+".tar.gz", dir)
			expected, err := os.ReadFile("testdata/7b28d06.txt")
			if err != nil {
				t.Fatal(err)
			}
			_, rest, _ := strings.Cut(string(expected), "\n")
			p := personalOf(t, dir, rest)
			if p.shown(t, dir) < len(p) {
				t.Fatal("it showed less before")
			}
			var killed []string
			encrypted(t, dir, func(*bolt.Store) { killed = append(killed, copyFolder(t, dir)) })
			if len(killed) < 6 {
				t.Errorf("%d steps", len(killed))
			}
			for i, dir := range append(killed, dir) {
				if i < len(killed)-1 {
					encrypted(t, dir, nil)
				}
				if n := p.shown(t, dir); n > 0 {
					t.Errorf("killed after step %d: %d texts are shown", i, n)
				}
				s, err := bolt.Open(dir, bolt.Options{MergeEvery: time.Hour})
				if err != nil {
					t.Fatal(err)
				}
				if got := dump(t, s); got != rest {
					t.Errorf("killed after step %d: not as it was written:\n%s", i, got)
				}
				c := bolt.CopyTo(t, nil)
				if err := s.Copy(t.Context(), c); err != nil {
					t.Fatal(err)
				}
				if n := p.shown(t, c.Folder()); n > 0 {
					t.Errorf("killed after step %d: a copy shows %d texts", i, n)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestEncryptBesideCopy: a copy that began before has all of the store as it was then,
// whose pages are overwritten only when it has ended.
func TestEncryptBesideCopy(t *testing.T) {
	dir := t.TempDir()
	unpack(t, "testdata/e2ce6cb.tar.gz", dir)
	expected, err := os.ReadFile("testdata/7b28d06.txt")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(expected), "\n")
	p := personalOf(t, dir, rest)
	var c *bolt.CopiedTo
	encrypted(t, dir, func(s *bolt.Store) {
		if c != nil {
			return
		}
		records := 0
		c = bolt.CopyTo(t, func(file, _ string) {
			if records++; file != "waybills.db" || records%50 != 0 {
				return
			}
			for range 30 {
				if _, err := s.Forget(t.Context(), snapshot.Retention{Keep: 1 << 60}); err != nil {
					t.Fatal(err)
				}
			}
			if p.shown(t, dir) == 0 {
				t.Error("what the copy still reads is overwritten")
			}
		})
		if err := s.Copy(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	})
	if n := p.shown(t, dir); n > 0 {
		t.Errorf("%d texts are shown", n)
	}
	copied := c.Folder()
	key, err := os.ReadFile(filepath.Join(dir, "centre.key"))
	if err == nil {
		err = os.WriteFile(filepath.Join(copied, "centre.key"), key, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	s, err := bolt.Open(copied, bolt.Options{MergeEvery: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if got := dump(t, s); got != rest {
		t.Errorf("the copy is not as it was:\n%s", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestNothingPersonalInFiles: no file of a store shows anything of what was put in, be
// it in the log, merged, or in pages that are free again.
func TestNothingPersonalInFiles(t *testing.T) {
	p := personal{"杨绛", "13912345678", "成都市", "草堂路7号", "签收人 门卫", "王师傅", "13987654321", "身份证"}
	dir := t.TempDir()
	s, err := bolt.Open(dir, bolt.Options{MergeEvery: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	data := scan.Waybill{CreateTime: 1}
	for _, party := range []*scan.Party{&data.Sender, &data.Receiver} {
		*party = scan.Party{Name: "杨绛", Phone: "13912345678", City: "成都市", Address: "草堂路7号", ID: "身份证"}
	}
	for seq := uint64(1); seq <= 40; seq++ {
		e := scan.Event{
			EventID: "e", Waybill: scan.WaybillID("YT" + strings.Repeat("1", int(seq%7))), ActionTime: int64(seq), ActionType: 200001, ActionMsg: "签收人 门卫",
			Pickup: scan.Courier{Name: "王师傅", Phone: "13987654321"}, Data: &data,
		}
		e.EventID = strings.Repeat("e", int(seq))
		b := snapshot.Batch{Depot: "hz-01", Epoch: 1, From: seq, NextSeq: seq + 1, Events: []snapshot.Event{{Seq: seq, Event: e}}}
		b.Bindings = []snapshot.Observation{{Waybill: e.Waybill, Exist: true, At: time.Unix(int64(seq), 0)}}
		if _, err := s.Merge(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if seq%8 == 0 {
			_, err := s.Forget(t.Context(), snapshot.Retention{Keep: 1 << 60}) // merges
			_, err2 := s.Import(t.Context(), []snapshot.Import{{Waybill: "YT0", Data: data, Children: []scan.WaybillID{"YT1"}}})
			if err != nil || err2 != nil {
				t.Fatal(err, err2)
			}
		}
	}
	c := bolt.CopyTo(t, nil)
	if err := s.Copy(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if w, _, err := s.Lookup(t.Context(), "YT11"); err != nil || w.Data.Receiver.Address != "草堂路7号" || w.Nodes[0].Pickup.Name != "王师傅" {
		t.Errorf("%+v, %v", w, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n := p.shown(t, dir) + p.shown(t, c.Folder()); n > 0 {
		t.Errorf("%d texts are shown", n)
	}
}
