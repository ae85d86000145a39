package postgres

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"scanrelay/agent/scan"
	"scanrelay/configs/secret"
	"scanrelay/store/masterkey"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/datakey"
	"scanrelay/store/snapshot/values"
)

// shown tells which of these texts the rows of the database show, whatever is in them.
func shown(t *testing.T, s *Store, texts ...string) (found []string) {
	t.Helper()
	var all strings.Builder
	for _, table := range []string{"waybill", "depot", "answer", "binding", "document", "meta"} {
		rows, err := s.pool.Query(t.Context(), "SELECT "+table+"::text FROM "+table)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var row string
			if err := rows.Scan(&row); err != nil {
				t.Fatal(err)
			}
			all.WriteString(row + "\n")
		}
		if rows.Close(); rows.Err() != nil {
			t.Fatal(rows.Err())
		}
	}
	for _, text := range texts {
		if strings.Contains(all.String(), text) || strings.Contains(all.String(), fmt.Sprintf("%x", text)) {
			found = append(found, text)
		}
	}
	return found
}

// TestNothingPersonalInRows: no row, and so no dump, shows anything personal.
func TestNothingPersonalInRows(t *testing.T) {
	s := open(t, database(t))
	party := scan.Party{Name: "杨绛", Phone: "13912345678", City: "成都市", Address: "草堂路7号", ID: "身份证"}
	e := event(1, "YT0000001")
	e.ActionMsg, e.Pickup = "签收人 门卫", scan.Courier{Name: "王师傅", Phone: "13987654321"}
	e.Data = &scan.Waybill{CreateTime: time.Now().Unix(), Sender: party, Receiver: party}
	b := batch("hz-01", e)
	b.Bindings = []snapshot.Observation{{Waybill: "YT0000001", Exist: true, At: time.Now()}}
	merge(t, s, b)
	if found := shown(t, s, "杨绛", "13912345678", "成都市", "草堂路7号", "身份证", "签收人", "王师傅", "13987654321", string(s.phoneSecret)); len(found) > 0 {
		t.Errorf("shown are %q", found)
	}
	if found := shown(t, s, "YT0000001", "e1"); len(found) != 2 {
		t.Errorf("of what is in clear only %q is found", found)
	}
	w, _, err := s.Lookup(t.Context(), "YT0000001")
	if err != nil || w.Data.Receiver != party || w.Nodes[0].ActionMsg != "签收人 门卫" || w.Nodes[0].Pickup != e.Pickup {
		t.Errorf("%+v, %v", w, err)
	}
}

// inClear is a row as a version before wrote it.
func inClear() []byte {
	b := []byte{1, 1, 0}
	b = binary.AppendVarint(b, 1_700_000_000) // changed
	b = append(b, 5)
	b = binary.AppendVarint(b, 1_690_000_000) // created
	for range 2 {
		for _, text := range []string{"杨绛", "13912345678", "", "成都市", "", "", "草堂路7号", ""} {
			b = append(append(b, byte(len(text))), text...)
		}
	}
	return values.Seal(nil, append(b, 0))
}

// older makes a database one of schema 2.
const older = `DROP TABLE presence, waiting, awaited; DELETE FROM scanrelay_schema WHERE version > 2`

// olden makes the database one of the schema before, with n rows in clear.
func olden(t *testing.T, s *Store, n int) (phones []byte) {
	t.Helper()
	phones = []byte("the secret of phones of that one")
	for _, change := range []struct {
		sql  string
		args []any
	}{
		{`DELETE FROM meta WHERE name LIKE 'key%' OR name = 'encrypted'`, nil},
		{older, nil},
		{sqlPutMeta, []any{"phone_key", phones}},
		{`INSERT INTO waybill (waybill_id, state, due, version, was) SELECT 'OLD' || i, $1, 1, i, 0 FROM generate_series(1, $2) AS i`, []any{inClear(), n}},
	} {
		if _, err := s.pool.Exec(t.Context(), change.sql, change.args...); err != nil {
			t.Fatal(change.sql, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return phones
}

// TestClearRows: rows that a version before wrote are read as they are, and encrypted in
// bounded steps, by one process after the other; what is written meanwhile stays.
func TestClearRows(t *testing.T) {
	o := database(t)
	phones := olden(t, open(t, o), 2*sweepClear+100)
	texts := []string{"杨绛", "13912345678", "成都市", "草堂路7号", string(phones)}
	s := open(t, o)
	if string(s.phoneSecret) != string(phones) {
		t.Error("bindings are not found any more")
	}
	if found := shown(t, s, texts...); len(found) != 4 {
		t.Errorf("shown before: %q", found)
	}
	read := func(id string, nodes int) {
		t.Helper()
		w, ok, err := s.Lookup(t.Context(), scan.WaybillID(id))
		if err != nil || !ok || w.Data.Receiver.Name != "杨绛" || len(w.Nodes) != nodes {
			t.Errorf("%s: %+v, %v", id, w, err)
		}
	}
	read("OLD7", 0)
	merge(t, s, batch("hz-01", event(1, "OLD3")))
	for steps := 0; ; steps++ {
		if steps > 10 {
			t.Fatal("it has no end")
		}
		if steps%2 == 1 { // another process goes on
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, o)
		}
		f, err := s.Forget(t.Context(), snapshot.Retention{Keep: 1 << 60})
		if err != nil || f.Done {
			t.Fatalf("%+v, %v", f, err)
		}
		if !s.clear {
			if steps != 2 {
				t.Errorf("%d steps", steps+1)
			}
			break
		}
		merge(t, s, batch("hz-01", event(uint64(steps+2), "OLD3")))
	}
	if found := shown(t, s, texts...); len(found) > 0 {
		t.Errorf("shown are %q", found)
	}
	read("OLD7", 0)
	read(fmt.Sprint("OLD", 2*sweepClear+100), 0)
	read("OLD3", 3)
	if st, err := s.Stats(t.Context()); err != nil || len(st.Damage) > 0 {
		t.Errorf("%+v, %v", st, err)
	}
}

// TestKeysAgree: processes that begin at once, and go into a new month at once, have the
// same keys: each reads what any other wrote.
func TestKeysAgree(t *testing.T) {
	o := database(t)
	var mu sync.Mutex
	now := time.Date(2026, 3, 31, 0, 0, 0, 0, time.UTC)
	o.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	all := make([]*Store, 3)
	each := func(do func(i int)) {
		var w sync.WaitGroup
		for i := range all {
			w.Go(func() { do(i) })
		}
		w.Wait()
	}
	each(func(i int) {
		var err error
		if all[i], err = Open(t.Context(), o); err != nil {
			t.Error(err)
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	defer each(func(i int) { _ = all[i].Close() }) // it never fails
	for month := range 3 {
		each(func(i int) {
			depot := scan.DepotID(fmt.Sprint("hz-0", i))
			b := batch(depot, event(uint64(month+1), fmt.Sprint("YT", month, i)))
			if _, err := all[i].Merge(t.Context(), b); err != nil {
				t.Error(err)
			}
		})
		for _, s := range all {
			for m := range month + 1 {
				for i := range all {
					w, _, err := s.Lookup(t.Context(), scan.WaybillID(fmt.Sprint("YT", m, i)))
					if err != nil || len(w.Nodes) != 1 || w.Nodes[0].ActionMsg != "快件到达" {
						t.Errorf("month %d: %+v, %v", m, w, err)
					}
				}
			}
		}
		mu.Lock()
		now = now.AddDate(0, 0, 32)
		mu.Unlock()
	}
	if n := len(all[0].ring.Entries()); n < 4 || n > 1+3*len(all) {
		t.Errorf("%d keys after three months", n)
	}
}

// TestMasterKey: a start without the master key, or with another, is refused and changes
// nothing; the key may stand in any line.
func TestMasterKey(t *testing.T) {
	const other = "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100"
	o := database(t)
	s := open(t, o)
	merge(t, s, batch("hz-01", event(1, "YT0000001")))
	rows := func() (n int, text string) {
		t.Helper()
		if err := s.pool.QueryRow(t.Context(), `SELECT count(*), string_agg(meta::text, ' ' ORDER BY name) FROM meta`).Scan(&n, &text); err != nil {
			t.Fatal(err)
		}
		return n, text
	}
	_, before := rows()
	for given, says := range map[secret.Text]string{"": "store.key_file", other: "under none of the 1 master keys", "12": "64 hex digits"} {
		o.Key = given
		if _, err := Open(t.Context(), o); !errors.Is(err, datakey.ErrKey) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", says, err)
		}
	}
	if _, after := rows(); after != before {
		t.Error("meta was changed")
	}
	o.Key = other + "\n" + testKey + "\n"
	second := open(t, o)
	if w, _, err := second.Lookup(t.Context(), "YT0000001"); err != nil || len(w.Nodes) != 1 {
		t.Errorf("in the second line: %+v, %v", w, err)
	}
}

// stranger is somebody else's connection to the database.
func stranger(t *testing.T, o Options) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), o.DSN)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// TestKeysThatTheDatabaseLost: a database that goes back to before a key was made, while a
// process runs that encrypts with it, has that key from then on.
func TestKeysThatTheDatabaseLost(t *testing.T) {
	o := database(t)
	s := open(t, o)
	merge(t, s, batch("hz-01", event(1, "YT0000001")))
	other := stranger(t, o)
	for _, sql := range []string{
		`DELETE FROM meta WHERE name LIKE 'key%' AND name <> '` + entryName(0) + `'`,
		`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`, // as a promotion does
	} {
		if _, err := other.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	for { // the ended connections give an error each
		if _, err := s.Merge(t.Context(), batch("hz-01", event(2, "YT0000002"))); err == nil {
			break
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, o)
	for _, id := range []scan.WaybillID{"YT0000001", "YT0000002"} {
		if w, ok, err := s.Lookup(t.Context(), id); err != nil || !ok || w.Nodes[0].ActionMsg != "快件到达" {
			t.Errorf("%s: %+v, %v", id, w, err)
		}
	}
}

// TestKeysComeWhenTheyCan: a connection to what can only be read yet, as before a
// promotion, puts no key there; whoever writes by it later does so first.
func TestKeysComeWhenTheyCan(t *testing.T) {
	o := database(t)
	s := open(t, o)
	merge(t, s, batch("hz-01", event(1, "YT0000001")))
	other := stranger(t, o)
	run := func(sql string) {
		t.Helper()
		if _, err := other.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	run(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION USING ERRCODE = '25006'; END $$`)
	run(`CREATE TRIGGER refuse BEFORE INSERT ON meta FOR EACH STATEMENT EXECUTE FUNCTION refuse()`)
	run(`DELETE FROM meta WHERE name LIKE 'key%' AND name <> '` + entryName(0) + `'`)
	run(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
	for !s.keysDue.Load() { // it is read again, by new connections
		_, _, _ = s.Lookup(t.Context(), "YT0000001")
	}
	if _, err := s.Merge(t.Context(), batch("hz-01", event(2, "YT0000002"))); err == nil {
		t.Error("it was encrypted with a key that is nowhere else")
	}
	run(`DROP TRIGGER refuse ON meta`)
	merge(t, s, batch("hz-01", event(2, "YT0000002")))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, o)
	for _, id := range []scan.WaybillID{"YT0000001", "YT0000002"} {
		if _, ok, err := s.Lookup(t.Context(), id); err != nil || !ok {
			t.Errorf("%s: %v, %v", id, ok, err)
		}
	}
}

// TestUnknownKey: a row whose data key is gone is no damage: a lookup of it fails and is
// told, and what comes for it begins anew; with the key it is there.
func TestUnknownKey(t *testing.T) {
	o := database(t)
	var ahead atomic.Int64
	o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	move := func(d time.Duration) { ahead.Add(int64(d)) }
	s := open(t, o)
	merge(t, s, batch("hz-01", event(1, "YT0000001"), event(2, "YT0000002")))
	var kept, row []byte
	if err := s.pool.QueryRow(t.Context(), `SELECT state FROM waybill WHERE waybill_id = 'YT0000001'`).Scan(&row); err != nil {
		t.Fatal(err)
	}
	number := s.ring.Entries()[1].Number
	if err := s.Close(); err != nil { // it would put the key back
		t.Fatal(err)
	}
	if err := stranger(t, o).QueryRow(t.Context(), `UPDATE meta SET name = 'gone' WHERE name = $1 RETURNING value`, entryName(number)).Scan(&kept); err != nil {
		t.Fatal(err)
	}
	s = open(t, o)
	if _, err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if st, err := s.Stats(t.Context()); err != nil || len(st.Damage) != 1 || !strings.HasPrefix(st.Damage[0], fmt.Sprintf("2 values are encrypted under data key %d,", number)) {
		t.Errorf("a check tells %q, %v", st.Damage, err)
	}
	s = open(t, o)
	_, _, err := s.Lookup(t.Context(), "YT0000001")
	if !errors.Is(err, datakey.ErrKey) || errors.Is(err, snapshot.ErrDamaged) {
		t.Errorf("looked up: %v", err)
	}
	asks := []snapshot.Ask{{Epoch: 1, Seq: 1, Waybill: "YT0000001", EventID: "e1"}, {Epoch: 1, Seq: 3, Waybill: "YT0000003", EventID: "e3"}}
	if all, err := s.Answers(t.Context(), "hz-01", asks); err != nil || len(all) != 2 || all[0].Result != snapshot.Unknown {
		t.Errorf("asked: %+v, %v", all, err)
	}
	if known, err := s.Known(t.Context(), "hz-01", []scan.WaybillID{"YT0000001"}); err != nil || len(known) > 0 {
		t.Errorf("known: %+v, %v", known, err)
	}
	// It costs its waybill, and holds up no depot.
	m := merge(t, s, batch("hz-01", event(3, "YT0000001"), event(4, "YT0000003")))
	if m.Have != 4 || m.Answers[0].Result != snapshot.Taken || m.Answers[1].Result != snapshot.Taken {
		t.Errorf("merged: %+v", m)
	}
	if _, _, err := s.Lookup(t.Context(), "YT0000001"); !errors.Is(err, snapshot.ErrDamaged) {
		t.Errorf("begun anew, looked up: %v", err)
	}
	var aside []byte
	if err := s.pool.QueryRow(t.Context(), `SELECT doc FROM document WHERE name LIKE 'damaged/YT0000001/%'`).Scan(&aside); err != nil || !bytes.Equal(aside, row) {
		t.Errorf("the row is not kept: %v", err)
	}
	importData(t, s, "YT0000001")
	if w, _, err := s.Lookup(t.Context(), "YT0000001"); err != nil || w.Data == nil || len(w.Nodes) != 1 {
		t.Errorf("imported again: %+v, %v", w, err)
	}
	if st, err := s.Stats(t.Context()); err != nil || len(st.Damage) != 1 || !strings.Contains(st.Damage[0], fmt.Sprint("data key ", number)) {
		t.Errorf("%+v, %v", st, err)
	}
	if _, err := s.pool.Exec(t.Context(), sqlPutMeta, entryName(number), kept); err != nil {
		t.Fatal(err)
	}
	move(2 * goneFor)
	if w, _, err := s.Lookup(t.Context(), "YT0000002"); err != nil || len(w.Nodes) != 1 {
		t.Errorf("with the key, one that nothing came for: %+v, %v", w, err)
	}
	if m := merge(t, s, batch("hz-01", event(5, "YT0000002"))); m.Answers[0].Result != snapshot.Taken {
		t.Errorf("with the key: %+v", m)
	}
	if w, _, err := s.Lookup(t.Context(), "YT0000002"); err != nil || len(w.Nodes) != 2 {
		t.Errorf("with the key: %+v, %v", w, err)
	}
}

// TestUseKey: another master key is taken up by a process that runs, if it opens what is
// stored; what is made from then on is wrapped under it.
func TestUseKey(t *testing.T) {
	o := database(t)
	var ahead atomic.Int64
	o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	s := open(t, o)
	merge(t, s, batch("hz-01", event(1, "YT0000001")))
	next := secret.Text(strings.Repeat("5", 64))
	if err := s.UseKey(next); !errors.Is(err, datakey.ErrKey) {
		t.Errorf("one that opens nothing: %v", err)
	}
	merge(t, s, batch("hz-01", event(2, "YT0000001")))
	if err := s.UseKey(next + "\n" + testKey); err != nil {
		t.Fatal(err)
	}
	ahead.Store(int64(40 * 24 * time.Hour))
	merge(t, s, batch("hz-01", event(3, "YT0000002")))
	for _, key := range []secret.Text{testKey, next} {
		o.Key = key
		if _, err := Open(t.Context(), o); !errors.Is(err, datakey.ErrKey) {
			t.Errorf("with one of them alone: %v", err)
		}
	}
	o.Key = testKey + "\n" + next
	s = open(t, o)
	for id, n := range map[scan.WaybillID]int{"YT0000001": 2, "YT0000002": 1} {
		if w, _, err := s.Lookup(t.Context(), id); err != nil || len(w.Nodes) != n {
			t.Errorf("%s: %+v, %v", id, w, err)
		}
	}
}

// TestRekey: the data keys are put under another master key while processes run, all of
// which must know it; then the one before opens nothing any more.
func TestRekey(t *testing.T) {
	o := database(t)
	var ahead atomic.Int64
	o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	one, two := open(t, o), open(t, o)
	merge(t, one, batch("hz-01", event(1, "YT0000001")))
	next := secret.Text(strings.Repeat("5", 64))
	both := next + "\n" + testKey
	masters := masterkey.Parse([]byte(both.Reveal()))
	rekey := func(who ...*Store) error {
		t.Helper()
		for _, s := range who {
			if err := s.UseKey(both); err != nil {
				t.Fatal(err)
			}
		}
		_, err := Rekey(t.Context(), o, masters)
		return err
	}
	for _, who := range [][]*Store{nil, {one}} {
		if err := rekey(who...); err == nil || !strings.Contains(err.Error(), fmt.Sprint(2-len(who), " processes")) {
			t.Errorf("%d of them know it: %v", len(who), err)
		}
	}
	if err := rekey(two); err != nil {
		t.Fatal(err)
	}
	if n, err := Rekey(t.Context(), o, masters); n != 0 || err != nil {
		t.Errorf("again: %d, %v", n, err)
	}
	ahead.Store(int64(40 * 24 * time.Hour))
	merge(t, one, batch("hz-01", event(2, "YT0000002"))) // goes on, in a new month
	if err := two.UseKey(next); err != nil {
		t.Errorf("the old one is given up: %v", err)
	}
	if _, err := Open(t.Context(), o); !errors.Is(err, datakey.ErrKey) {
		t.Errorf("a start with the old key: %v", err)
	}
	o.Key = next
	for _, s := range []*Store{two, open(t, o)} {
		for _, id := range []scan.WaybillID{"YT0000001", "YT0000002"} {
			if w, _, err := s.Lookup(t.Context(), id); err != nil || len(w.Nodes) != 1 {
				t.Errorf("%s: %+v, %v", id, w, err)
			}
		}
	}
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	var left int
	if err := two.pool.QueryRow(t.Context(), `SELECT count(*) FROM lease WHERE name LIKE 'process/%' AND holder = $1`, one.holder).Scan(&left); err != nil || left != 0 {
		t.Errorf("who has ended is still there: %d, %v", left, err)
	}
}
