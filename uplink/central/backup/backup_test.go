package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"scanrelay/agent/scan"
	"scanrelay/configs/secret"
	"scanrelay/store/durable"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/archive"
	"scanrelay/store/snapshot/bolt"
	"scanrelay/store/snapshot/datakey"
	"scanrelay/uplink/central/audit"
	"scanrelay/uplink/central/documents"
	"scanrelay/uplink/central/identity"
	"scanrelay/uplink/central/rollout"
)

// small is a store of one record.
func small(context.Context) func(ctx context.Context, w archive.Store) error {
	return func(ctx context.Context, w archive.Store) error {
		return errors.Join(w.Begin("0123456789abcdef", time.Now(), 1), w.Bucket("log.db", "log"), w.Record([]byte("a"), []byte("b")))
	}
}

func keeper(t testing.TB, copy func(ctx context.Context, w archive.Store) error) (k *Keeper, set *metrics.Set, log *bytes.Buffer) {
	t.Helper()
	set, log = metrics.NewSet(), &bytes.Buffer{}
	return New(Options{
		Source: Source{Copy: copy, Dir: t.TempDir()}, StoreID: "0123456789abcdef", Dir: t.TempDir(), Every: time.Hour, Keep: 3,
		Logger: slog.New(slog.NewTextHandler(log, nil)), Now: time.Now, Metrics: set,
	}), set, log
}

func names(t testing.TB, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func shows(t testing.TB, set *metrics.Set, line string) {
	t.Helper()
	var out bytes.Buffer
	set.WritePrometheus(&out)
	if !strings.Contains(out.String(), line+"\n") {
		t.Errorf("no metric %s in\n%s", line, out.String())
	}
}

// TestSchedule: a copy at once where there is none, then each hour, also over a
// restart; as many are kept as are to be; what is not this store's stays.
func TestSchedule(t *testing.T) {
	k, set, _ := keeper(t, small(t.Context()))
	other := []string{"centre-ffffffff-20000101T000000Z.backup", "notes.txt", "centre-01234567-20000101T000000Z.backup.gz"}
	for _, name := range append(other, "centre-01234567-19990101T000000Z.backup.tmp") {
		if err := os.WriteFile(filepath.Join(k.o.Dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		run := func(k *Keeper, long time.Duration) {
			ctx, cancel := context.WithTimeout(t.Context(), long)
			defer cancel()
			k.Run(ctx)
		}
		run(k, 150*time.Minute) // at 0, 1 h and 2 h
		shows(t, set, `scanrelay_central_backups_total{result="ok"} 3`)
		shows(t, set, `scanrelay_central_backup_age_seconds 1800`)
		again := New(k.o)
		run(again, 29*time.Minute)
		if got := names(t, k.o.Dir); len(got) != 3+len(other) {
			t.Errorf("after a restart: %q", got)
		}
		run(again, 2*time.Minute) // at 3 h
		want := append([]string{
			"centre-01234567-20000101T000000Z.backup.gz", "centre-01234567-20000101T010000Z.backup", "centre-01234567-20000101T020000Z.backup",
			"centre-01234567-20000101T030000Z.backup"}, other[:2]...)
		if got := names(t, k.o.Dir); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("kept are %q, want %q", got, want)
		}
		if why, _ := again.Trouble(); why != "" {
			t.Errorf("trouble %q", why)
		}
	})
	f, err := os.Open(filepath.Join(k.o.Dir, "centre-01234567-20000101T030000Z.backup"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if s, err := archive.Check(f); err != nil || s.Records != 1 {
		t.Errorf("%+v, %v", s, err)
	}
	if info, err := f.Stat(); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// TestScheduleOfAFuture: copies of a clock that ran ahead hold up none, and none that
// is made later goes for them.
func TestScheduleOfAFuture(t *testing.T) {
	k, _, _ := keeper(t, small(t.Context()))
	for i := range 4 {
		if err := os.WriteFile(filepath.Join(k.o.Dir, Name(k.o.StoreID, time.Date(2999, 1, 1, i, 0, 0, 0, time.UTC))), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		New(k.o).Run(ctx)
		if !durable.Exists(filepath.Join(k.o.Dir, Name(k.o.StoreID, time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)))) {
			t.Error("no copy was made, or it was removed at once")
		}
		ctx, cancel = context.WithTimeout(t.Context(), 150*time.Minute)
		defer cancel()
		New(k.o).Run(ctx)
		var want []string
		for i := range 3 {
			want = append(want, Name(k.o.StoreID, time.Date(2000, 1, 1, i, 0, 0, 0, time.UTC)))
		}
		if got := names(t, k.o.Dir); !slices.Equal(got, want) {
			t.Errorf("left are %q, want %q", got, want)
		}
	})
}

// TestScheduleFails: a copy that cannot be made is told and tried again, older ones
// stay, nothing half is left, and all is well with the next that is made.
func TestScheduleFails(t *testing.T) {
	fail := errors.New("waybills.db is damaged")
	var answer atomic.Pointer[error]
	k, set, log := keeper(t, func(ctx context.Context, w archive.Store) error {
		err := small(ctx)(ctx, w)
		if failed := answer.Load(); failed != nil {
			err = *failed
		}
		return err
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		k = New(k.o)
		go func() { k.Run(ctx); close(ended) }()
		synctest.Wait()
		time.Sleep(time.Second)
		answer.Store(&fail)
		time.Sleep(time.Hour)
		if why, since := k.Trouble(); !strings.Contains(why, "waybills.db is damaged") || since.After(time.Now()) || since.IsZero() {
			t.Errorf("trouble %q since %v", why, since)
		}
		if got := names(t, k.o.Dir); len(got) != 1 {
			t.Errorf("left are %q", got)
		}
		shows(t, set, `scanrelay_central_backups_total{result="failed"} 1`)
		time.Sleep(21 * time.Minute)
		shows(t, set, `scanrelay_central_backups_total{result="failed"} 3`)
		answer.Store(nil)
		time.Sleep(10 * time.Minute)
		if why, _ := k.Trouble(); why != "" || len(names(t, k.o.Dir)) != 2 {
			t.Errorf("trouble %q, %q", why, names(t, k.o.Dir))
		}
		if err := os.RemoveAll(k.o.Dir); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if why, _ := k.Trouble(); !strings.Contains(why, "backup.dir") || durable.Exists(k.o.Dir) {
			t.Errorf("a disk that is not there: trouble %q", why)
		}
		cancel()
		<-ended
	})
	if !strings.Contains(log.String(), "waybills.db is damaged") {
		t.Errorf("the log says\n%s", log.String())
	}
}

// TestScheduleHangs: a disk that does not answer is told, and the store is let go.
func TestScheduleHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended error
		k, _, _ := keeper(t, func(ctx context.Context, w archive.Store) error {
			ended = nil
			for i := 0; ended == nil; i++ {
				ended = errors.Join(w.Begin("s", time.Now(), 0), w.Bucket("log.db", fmt.Sprint("b", i)))
			}
			return ended
		})
		block := make(chan struct{})
		done := make(chan error, 1)
		go func() { done <- k.o.Source.Write(t.Context(), writer(func([]byte) error { <-block; return nil })) }()
		time.Sleep(2 * patience)
		synctest.Wait()
		if ended == nil || !strings.Contains(ended.Error(), "nobody took the copy") {
			t.Errorf("the store is still held: %v", ended)
		}
		close(block)
		if err := <-done; err == nil {
			t.Error("it is taken for whole")
		}
		time.Sleep(2 * k.o.Every)
		if why, _ := k.Trouble(); !strings.Contains(why, "takes too long") {
			t.Errorf("trouble %q", why)
		}
	})
}

type writer func(b []byte) error

func (w writer) Write(b []byte) (int, error) { return len(b), w(b) }

// TestNoRoom: a disk that is full gets a word, and nothing half.
func TestNoRoom(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.backup")
	err := WriteFile(path, func(w io.Writer) error {
		_, err := w.Write([]byte("part"))
		return errors.Join(err, &os.PathError{Op: "write", Path: path, Err: syscall.ENOSPC})
	})
	if err == nil || !strings.Contains(err.Error(), "is full, and nothing of the copy was left on it") || len(names(t, filepath.Dir(path))) > 0 {
		t.Errorf("%v, %q", err, names(t, filepath.Dir(path)))
	}
}

// TestRoomIsLeft: a copy is told that its disk is full before it is, also midway.
func TestRoomIsLeft(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "x.backup"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	free := int64(reserve + 2*syncEvery)
	c := &careful{f: f, free: func(string) int64 { return free }}
	taken := 0
	for frame := make([]byte, 1<<20); err == nil && free >= 0; {
		var n int
		n, err = c.Write(frame)
		taken, free = taken+n, free-int64(n)
	}
	if !durable.NoSpace(err) || free < reserve || taken != 2*syncEvery {
		t.Errorf("%d MiB were taken, %d are left: %v", taken>>20, free>>20, err)
	}
}

// TestServe: an archive that breaks off says why, one call is served at a time, and a
// copy may take longer than any other call.
func TestServe(t *testing.T) {
	long := 200 * time.Millisecond
	var answer error
	going, goOn := make(chan struct{}), make(chan struct{})
	k, _, _ := keeper(t, func(ctx context.Context, w archive.Store) error {
		err := w.Begin("s", time.Now(), 0)
		going <- struct{}{}
		<-goOn
		return errors.Join(err, ctx.Err(), answer)
	})
	k.turn = 0
	var noted error
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		k.Serve(w, r, func(err error) { noted = err })
	}))
	server.Config.ReadTimeout, server.Config.WriteTimeout = long, long
	server.Start()
	defer server.Close()
	call := func() (*http.Response, []byte) {
		resp, err := http.Post(server.URL, "", nil)
		if err != nil {
			t.Error(err)
			return &http.Response{}, nil
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Error(err)
		}
		return resp, body
	}
	for _, why := range []error{nil, errors.New("waybills.db: 坏了\nand more")} {
		answer = why
		done := make(chan struct{})
		go func() {
			defer close(done)
			resp, body := call()
			if _, err := archive.Check(bytes.NewReader(body)); (err == nil) != (why == nil) {
				t.Errorf("%v: the archive: %v", why, err)
			}
			if got := resp.Trailer.Get(ErrorTrailer); why == nil && got != "" || why != nil && !strings.Contains(got, "waybills.db") {
				t.Errorf("%v: it says %q", why, got)
			}
		}()
		<-going
		if resp, body := call(); resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
			t.Errorf("a second call meanwhile: %s: %s", resp.Status, body)
		}
		time.Sleep(2 * long)
		goOn <- struct{}{}
		<-done
		if (noted == nil) != (why == nil) {
			t.Errorf("noted: %v", noted)
		}
	}
	k = nil
	if resp, body := call(); resp.StatusCode != http.StatusNotImplemented || !strings.Contains(string(body), "pg_dump") {
		t.Errorf("a centre on a database: %s: %s", resp.Status, body)
	}
}

// testKey is a master key.
const testKey = secret.Text("00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff")

// centre makes the data_dir of a centre with n events, and its archive.
func centre(t testing.TB, n uint64) (dir string, copied []byte) {
	t.Helper()
	dir = t.TempDir()
	s, err := bolt.Open(dir, bolt.Options{MergeEvery: time.Hour, Key: testKey})
	if err != nil {
		t.Fatal(err)
	}
	in := snapshot.Batch{Depot: "hz-01", Epoch: 1, From: 1, NextSeq: n + 1}
	for seq := uint64(1); seq <= n; seq++ {
		in.Events = append(in.Events, snapshot.Event{Seq: seq, Event: scan.Event{
			EventID: fmt.Sprintf("e%d", seq), Waybill: "YT1234567890123", ActionTime: int64(seq), ActionType: scan.ActionTransport, ActionMsg: "x",
		}})
	}
	_, err = s.Merge(t.Context(), in)
	j, err2 := identity.OpenJournal(dir, slog.New(slog.DiscardHandler))
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	err = j.Update(t.Context(), func(tx identity.Tx) error { return tx.PutDepot(&identity.Registration{ID: "nb-07"}) })
	_, err2 = documents.Put(t.Context(), j, nil, map[string]any{"rollout/now": map[string]any{"now": rollout.Rollout{ID: "r", Plan: rollout.Plan{Version: "1.1.0"}, State: rollout.Running}}})
	err = errors.Join(err, err2)
	log := audit.Open(dir, time.Now)
	err = errors.Join(err, log.Add(audit.Entry{Who: "ops-1", Action: "depot.add", Depot: "nb-07", Result: audit.OK}))
	var out bytes.Buffer
	from := Source{Copy: s.Copy, Dir: dir, Audit: log, Version: "test"}
	err = errors.Join(err, from.Write(t.Context(), &out), log.Close(), j.Close(), s.Close())
	if err != nil {
		t.Fatal(err)
	}
	return dir, out.Bytes()
}

// TestDamagedRegistrations: a copy that a restore would refuse is none, and says why.
func TestDamagedRegistrations(t *testing.T) {
	dir, _ := centre(t, 1)
	path := filepath.Join(dir, identity.JournalName)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text[bytes.Index(text, []byte("nb-07"))] ^= 1
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	from := Source{Copy: small(t.Context()), Dir: dir}
	err = from.Write(t.Context(), &out)
	if _, read := archive.Check(&out); !errors.Is(err, durable.ErrDamaged) || !strings.Contains(err.Error(), identity.JournalName) || read == nil {
		t.Errorf("%v; what was written is taken for whole", err)
	}
	j, err := identity.OpenJournal(dir, slog.New(slog.DiscardHandler)) // a start mends it
	if err == nil {
		err = errors.Join(j.Close(), from.Write(t.Context(), io.Discard))
	}
	if err != nil {
		t.Error(err)
	}
}

func restoring(dir string) *Restoring {
	return &Restoring{Dir: dir, Key: testKey, Who: "uid 0", Now: time.Now}
}

// whole holds that a folder has all that was archived.
func whole(t testing.TB, dir string) {
	t.Helper()
	s, err := bolt.Open(dir, bolt.Options{MergeEvery: time.Hour, Key: testKey})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	w, _, err := s.Lookup(t.Context(), "YT1234567890123")
	if err != nil || len(w.Nodes) != 9 {
		t.Errorf("%d nodes of 9, %v", len(w.Nodes), err)
	}
	st, err := s.Stats(t.Context())
	if err != nil || len(st.Damage) != 1 || !strings.Contains(st.Damage[0], "was put back from a backup") {
		t.Errorf("damage %q, %v", st.Damage, err)
	}
	j, err := identity.OpenJournal(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	err = j.View(t.Context(), func(tx identity.Tx) error {
		r, err := tx.Depot("nb-07")
		if r == nil {
			t.Error("the registration is missing")
		}
		return err
	})
	var l struct{ Now rollout.Rollout } // which may have been halted since
	if _, err := documents.Get(t.Context(), j, "rollout/now", &l); err != nil || l.Now.Version != "1.1.0" || l.Now.State != rollout.Paused {
		t.Errorf("the rollout: %+v, %v", l.Now, err)
	}
	text, err2 := os.ReadFile(filepath.Join(dir, audit.Name))
	if err := errors.Join(err, err2); err != nil || !strings.Contains(string(text), "depot.add") || !strings.Contains(string(text), "store.restore") {
		t.Errorf("the audit log has %q, %v", text, err)
	}
	if durable.Exists(filepath.Join(dir, bolt.Building)) {
		t.Error("what it was built in is still there")
	}
}

// TestRestoreKilled: wherever a restore is killed, no centre starts on half of it,
// and it can be done again.
func TestRestoreKilled(t *testing.T) {
	_, copied := centre(t, 9)
	kills := 0
	for i := 0; ; i++ {
		dir := t.TempDir()
		o := restoring(dir)
		steps := 0
		o.step = func(string) {
			if steps++; steps > i {
				panic("killed")
			}
		}
		killed := func() (killed bool) {
			defer func() { killed = recover() != nil }()
			if _, err := o.Restore(t.Context(), bytes.NewReader(copied)); err != nil {
				t.Fatal(err)
			}
			return false
		}()
		if !killed {
			whole(t, dir)
			break
		}
		kills++
		if s, err := bolt.Open(dir, bolt.Options{Key: testKey}); err == nil {
			s.Close()
			t.Fatalf("killed at step %d: a centre starts on half of it", i)
		}
		if _, err := restoring(dir).Restore(t.Context(), bytes.NewReader(copied)); err != nil {
			t.Fatalf("killed at step %d: %v", i, err)
		}
		whole(t, dir)
	}
	if kills < 4 {
		t.Errorf("%d kills", kills)
	}
}

// TestRestoreKilledAtItsEnd: killed when all has its place, it says so when it is done
// again, and what it left goes with the start of the centre.
func TestRestoreKilledAtItsEnd(t *testing.T) {
	_, copied := centre(t, 9)
	dir := t.TempDir()
	if _, err := restoring(dir).Restore(t.Context(), bytes.NewReader(copied)); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, bolt.Building), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := restoring(dir).Restore(t.Context(), bytes.NewReader(copied)); err == nil || !strings.Contains(err.Error(), "is in place already: start the centre") {
		t.Errorf("done again: %v", err)
	}
	whole(t, dir)
	if _, err := restoring(dir).Restore(t.Context(), bytes.NewReader(copied)); err == nil || !strings.Contains(err.Error(), "is not empty (") {
		t.Errorf("after a centre ran: %v", err)
	}
}

// TestRestoreRefuses: what is damaged, cut off, foreign or incomplete puts nothing in
// place, and a folder with something in it is left alone.
func TestRestoreRefuses(t *testing.T) {
	old, copied := centre(t, 9)
	broken := bytes.Clone(copied)
	broken[len(broken)-40] ^= 1
	var empty bytes.Buffer
	w := archive.NewWriter(&empty, "")
	incomplete := errors.Join(w.Begin("s", time.Now(), 0), w.Bucket("log.db", "meta"), w.End())
	var newer bytes.Buffer
	w = archive.NewWriter(&newer, "")
	incomplete = errors.Join(incomplete, w.Begin("s", time.Now(), 0))
	for _, file := range []string{"log.db", "waybills.db"} {
		incomplete = errors.Join(incomplete, w.Bucket(file, "meta"), w.Record([]byte("format"), []byte{0, 0, 0, 0, 0, 0, 0, 9}), w.Record([]byte("store_id"), []byte("x")))
	}
	if incomplete = errors.Join(incomplete, w.End()); incomplete != nil {
		t.Fatal(incomplete)
	}
	for name, c := range map[string]struct {
		archive []byte
		says    string
	}{
		"damaged":    {broken, "damaged or cut off"},
		"cut off":    {copied[:len(copied)-1], "damaged or cut off"},
		"foreign":    {[]byte("PK and other bytes than these"), "no backup of a centre"},
		"incomplete": {empty.Bytes(), "lacks a file"},
		"newer":      {newer.Bytes(), "written by a newer scanrelay"},
	} {
		dir := filepath.Join(t.TempDir(), "data")
		_, err := restoring(dir).Restore(t.Context(), bytes.NewReader(c.archive))
		if left := names(t, dir); err == nil || !strings.Contains(err.Error(), c.says) || len(left) != 0 {
			t.Errorf("%s: %v, left are %q", name, err, left)
		}
	}
	before := names(t, old)
	_, err := restoring(old).Restore(t.Context(), bytes.NewReader(copied))
	if err == nil || !strings.Contains(err.Error(), "is not empty (") || fmt.Sprint(names(t, old)) != fmt.Sprint(before) {
		t.Errorf("a data_dir in use: %v", err)
	}
	dir := t.TempDir()
	lock, err := durable.LockExclusive(filepath.Join(dir, bolt.LockName))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	if _, err := restoring(dir).Restore(t.Context(), bytes.NewReader(copied)); !errors.Is(err, durable.ErrInUse) {
		t.Errorf("a centre runs: %v", err)
	}
}

// TestRestoreKey: a backup whose store has another master key, or none at hand, is
// refused, and nothing is put in place; the key may stand in data_dir already.
func TestRestoreKey(t *testing.T) {
	_, copied := centre(t, 9)
	for given, says := range map[secret.Text]string{"": "centre.key is gone", testKey[:62] + "00": "under none of the 1 master keys"} {
		o := restoring(t.TempDir())
		o.Key = given
		if _, err := o.Restore(t.Context(), bytes.NewReader(copied)); !errors.Is(err, datakey.ErrKey) || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
		if left := names(t, o.Dir); len(left) != 0 {
			t.Errorf("left are %q", left)
		}
	}
	o := restoring(t.TempDir())
	o.Key = ""
	if err := os.WriteFile(filepath.Join(o.Dir, bolt.KeyName), []byte(testKey.Reveal()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Restore(t.Context(), bytes.NewReader(copied)); err != nil {
		t.Fatal(err)
	}
	whole(t, o.Dir)
}

// TestRestoreRevocations: what was revoked since comes along from where it was kept;
// another file is refused before anything is done.
func TestRestoreRevocations(t *testing.T) {
	_, copied := centre(t, 9)
	kept := filepath.Join(t.TempDir(), "kept.log")
	for text, ok := range map[string]bool{
		"": true, "appid: wx0123\nsecret: x\n": false,
		"\nbc8e3aa4 {}\n": false,
	} {
		if err := os.WriteFile(kept, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		o := restoring(t.TempDir())
		o.Revocations = kept
		_, err := o.Restore(t.Context(), bytes.NewReader(copied))
		if (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
		if got, _ := os.ReadFile(filepath.Join(o.Dir, identity.EndedName)); ok && string(got) != text {
			t.Errorf("%q came along as %q", text, got)
		}
		if !ok && len(names(t, o.Dir)) > 0 {
			t.Errorf("%q: left are %q", text, names(t, o.Dir))
		}
	}
	o := restoring(t.TempDir())
	o.Revocations = kept + ".none"
	if _, err := o.Restore(t.Context(), bytes.NewReader(copied)); err == nil || !strings.Contains(err.Error(), "--without-revocations") {
		t.Errorf("none: %v", err)
	}
}
