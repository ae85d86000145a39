package bolt

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"scanrelay/agent/scan"
	"scanrelay/configs/secret"
	"scanrelay/store/boltpage"
	"scanrelay/store/durable"
	"scanrelay/store/masterkey"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/boltfile"
	"scanrelay/store/snapshot/datakey"
	"scanrelay/store/snapshot/judge"
)

func hexKey() string { return hex.EncodeToString(masterkey.Random().Reveal()[:]) }

// TestMasterKey: a start with another master key, or none, is refused and changes
// nothing; with the right one, wherever it stands, all is there.
func TestMasterKey(t *testing.T) {
	key, others := hexKey(), hexKey()+"\n"+hexKey()+"\n"
	for name, given := range map[string]struct {
		made   secret.Text // the store was made with
		spoil  func(dir string) error
		opened secret.Text
		says   string // "": it opens
	}{
		"the same":              {made: secret.Text(key), opened: secret.Text(key)},
		"the third line":        {made: secret.Text(key), opened: secret.Text(others + key + "\n")},
		"another":               {made: secret.Text(key), opened: secret.Text(others), says: "under none of the 2 master keys given"},
		"none":                  {made: secret.Text(key), says: "centre.key is gone"},
		"the file":              {},
		"the file, given":       {opened: secret.Text(key), says: "under none of the 1 master keys given"},
		"the file, gone":        {spoil: func(dir string) error { return os.Remove(filepath.Join(dir, KeyName)) }, says: "centre.key is gone"},
		"the file, another":     {spoil: func(dir string) error { return os.WriteFile(filepath.Join(dir, KeyName), []byte(others), 0o600) }, says: "under none"},
		"the file, empty":       {spoil: func(dir string) error { return os.WriteFile(filepath.Join(dir, KeyName), nil, 0o600) }, says: "holds no key"},
		"the file, a bad page":  {spoil: func(dir string) error { return hurtKey(filepath.Join(dir, KeyName), 0) }},
		"the file, its 2nd bad": {spoil: func(dir string) error { return hurtKey(filepath.Join(dir, KeyName), 8192) }},
		"the file, a digit bad": {spoil: func(dir string) error { return otherDigit(filepath.Join(dir, KeyName)) }},
	} {
		dir := t.TempDir()
		o := Options{MergeEvery: time.Hour, Key: given.made}
		b := open(t, dir, o)
		send(t, b, 1, 3)
		mergeNow(t, b)
		send(t, b, 4, 6)
		closed(t, b)
		made, _ := os.ReadFile(filepath.Join(dir, KeyName)) // there is none where one is given
		if given.spoil != nil {
			if err := given.spoil(dir); err != nil {
				t.Fatal(err)
			}
		}
		before := folder(t, dir)
		o.Key = given.opened
		checked := boltfile.CheckKey(dir, o.Key, dir)
		b, err := Open(dir, o)
		if given.says != "" {
			if !errors.Is(err, datakey.ErrKey) || !strings.Contains(err.Error(), given.says) || checked == nil || checked.Error() != err.Error() {
				t.Errorf("%s: %v; checked: %v", name, err, checked)
			}
			if after := folder(t, dir); !reflect.DeepEqual(before, after) {
				t.Errorf("%s: something was changed", name)
			}
			continue
		}
		if err != nil || checked != nil {
			t.Errorf("%s: %v, %v", name, err, checked)
			continue
		}
		if have(b) != 6 || nodes(t, b, 2) != 1 || nodes(t, b, 5) != 1 || len(stats(t, b).Damage) > 0 {
			t.Errorf("%s: have %d, %v", name, have(b), stats(t, b))
		}
		if now, _ := os.ReadFile(filepath.Join(dir, KeyName)); !bytes.Equal(now, made) {
			t.Errorf("%s: the file is not what it was", name)
		}
		closed(t, b)
	}
}

// otherDigit makes the first digit in a key file another one.
func otherDigit(path string) error {
	b, err := os.ReadFile(path)
	if err == nil {
		b[0] = "10"[min(b[0]-'0', 1)]
		err = os.WriteFile(path, b, 0o600)
	}
	return err
}

// hurtKey makes a page of a key file void.
func hurtKey(path string, at int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(make([]byte, 4096), at)
	return errors.Join(err, f.Close())
}

// lose makes keys of a file void, wherever they stand.
func lose(t testing.TB, dir, name string, keys ...datakey.Entry) {
	t.Helper()
	path := filepath.Join(dir, name)
	content, err := os.ReadFile(path)
	for _, e := range keys {
		if n := bytes.Count(content, e.Wrapped); n == 0 {
			t.Errorf("%s does not have key %d", name, e.Number)
		}
		content = bytes.ReplaceAll(content, e.Wrapped, make([]byte, len(e.Wrapped)))
	}
	if err = errors.Join(err, os.WriteFile(path, content, 0o600)); err != nil {
		t.Fatal(err)
	}
}

// TestKeysSurvive: the store's own keys stand in both files, each of which may lose them,
// and older copies of a page that is spoiled have them; where none is left they are asked
// for, and nothing is changed.
func TestKeysSurvive(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir, quiet)
	send(t, b, 1, 3)
	mergeNow(t, b)
	send(t, b, 4, 6)
	entries := b.ring.Entries()
	closed(t, b)
	spoilRoot := func(dir, name string) {
		t.Helper()
		var root int64
		edit(t, dir, name, func(*bbolt.Tx) error { return nil }) // an older one is left
		db, err := bbolt.Open(filepath.Join(dir, name), 0o600, boltfile.Options(name))
		if err == nil {
			err = errors.Join(db.View(func(tx *bbolt.Tx) error {
				root = int64(tx.Cursor().Bucket().Root())
				return nil
			}), db.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		hurt(t, dir, name, root, func(page []byte) { clear(page) })
	}
	for what, spoil := range map[string]func(dir string){
		"gone from the log":      func(dir string) { lose(t, dir, logName, entries...) },
		"gone from waybills.db":  func(dir string) { lose(t, dir, waybillsName, entries...) },
		"both root pages zeroed": func(dir string) { spoilRoot(dir, logName); spoilRoot(dir, waybillsName) },
	} {
		dir, from := t.TempDir(), dir
		copyFiles(t, from, dir, logName, waybillsName)
		spoil(dir)
		b := open(t, dir, quiet)
		inspected(t, b)
		for _, id := range []scan.WaybillID{"WAYBILL2", "WAYBILL5"} {
			if w, ok, err := b.tailAndFile(t, id); !ok || err != nil || len(w.Nodes) != 1 || w.Nodes[0].ActionMsg != "x" {
				t.Errorf("%s: %s: %+v, %v; %v", what, id, w, err, stats(t, b).Damage)
			}
		}
		mergeNow(t, b)
		closed(t, b)
		lose(t, dir, logName, entries...) // both have them again
		lose(t, dir, waybillsName, entries...)
	}
	lose(t, dir, logName, entries...)
	lose(t, dir, waybillsName, entries...)
	before := folder(t, dir)
	if _, err := Open(dir, quiet); !errors.Is(err, datakey.ErrKey) || !reflect.DeepEqual(before, folder(t, dir)) {
		t.Errorf("lost in both: %v", err)
	}
}

// TestSecretOfPhonesLost: where it alone cannot be read, what is encrypted can all the
// same, under the keys that are there; another takes its place, for good.
func TestSecretOfPhonesLost(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir, quiet)
	send(t, b, 1, 3)
	mergeNow(t, b)
	entries := b.ring.Entries()
	closed(t, b)
	for _, name := range []string{logName, waybillsName} {
		lose(t, dir, name, entries[0])
	}
	var secret []byte
	for i := range 3 {
		b := open(t, dir, quiet)
		inspected(t, b)
		first := uint64(4 + 2*i)
		send(t, b, first, first+1)
		if nodes(t, b, 2) != 1 || nodes(t, b, first) != 1 {
			t.Errorf("start %d: %v", i, stats(t, b).Damage)
		}
		mergeNow(t, b)
		if all := b.ring.Entries(); len(all) != 2 || all[1].Number != entries[1].Number {
			t.Errorf("start %d: other keys: %d", i, len(all))
		}
		if told := strings.Contains(strings.Join(stats(t, b).Damage, ""), "phones are filed is lost"); told != (i == 0) {
			t.Errorf("start %d: %v", i, stats(t, b).Damage)
		}
		if i > 0 && !bytes.Equal(b.phoneSecret, secret) {
			t.Error("another secret at each start")
		}
		secret = b.phoneSecret
		closed(t, b)
	}
}

// TestUnknownKey: what cannot be decrypted, as a data key is gone, is no damage: a lookup of
// it fails and is told, what comes for it begins anew, and with the key it is there.
func TestUnknownKey(t *testing.T) {
	dir := t.TempDir()
	now, move := movable(time.Date(2026, 3, 31, 0, 0, 0, 0, time.UTC))
	o := quiet
	o.Now = now
	b := open(t, dir, o)
	send(t, b, 1, 3)
	mergeNow(t, b)
	move(48 * time.Hour)
	send(t, b, 4, 6)
	mergeNow(t, b)
	if n := len(b.ring.Entries()); n != 3 {
		t.Fatalf("%d keys after two months", n)
	}
	closed(t, b)
	var kept []byte
	key := datakey.EntryKey(b.ring.Entries()[1].Number)
	set := func(value []byte) {
		for _, name := range []string{logName, waybillsName} {
			edit(t, dir, name, func(tx *bbolt.Tx) error {
				keys := tx.Bucket(bucketKeys)
				if kept == nil {
					kept = bytes.Clone(keys.Get(key))
				}
				if value == nil {
					return keys.Delete(key)
				}
				return keys.Put(key, value)
			})
		}
	}
	checked := func(want string) {
		t.Helper()
		var told []string
		if _, err := boltfile.CheckFolder(dir, func(what string) { told = append(told, what) }); err != nil || (want == "") != (len(told) == 0) || !strings.Contains(strings.Join(told, ""), want) {
			t.Errorf("a check tells %q, %v; want %q", told, err, want)
		}
	}
	checked("")
	set(nil)
	checked(fmt.Sprintf("6 values are encrypted under data key %d, which is not in the store", binary.BigEndian.Uint32(key)))
	b = open(t, dir, o)
	inspected(t, b)
	if _, _, err := b.Lookup(t.Context(), "WAYBILL2"); !errors.Is(err, datakey.ErrKey) || errors.Is(err, snapshot.ErrDamaged) {
		t.Errorf("looked up: %v", err)
	}
	if nodes(t, b, 5) != 1 {
		t.Error("others are not read")
	}
	if _, err := b.Forget(t.Context(), snapshot.Retention{Keep: time.Hour}); err != nil {
		t.Errorf("forgetting: %v", err)
	}
	damageSays(t, b, fmt.Sprint("data key ", binary.BigEndian.Uint32(key)))
	closed(t, b)
	if aside, err := durable.Aside(dir, ""); err != nil || len(aside) > 0 {
		t.Errorf("it was mended: %v, %v", aside, err)
	}
	set(kept)
	b = open(t, dir, o)
	if nodes(t, b, 2) != 1 || len(stats(t, b).Damage) > 0 {
		t.Errorf("with the key: %v", stats(t, b).Damage)
	}
	closed(t, b)
	set(nil)
	value := func(b *Store, bucket []byte, key string) (v []byte) {
		t.Helper()
		_, err := readFile(b.file, func(r *boltpage.Finder) (none struct{}, _ error) {
			r.Scan(string(bucket), []byte(key), func(k, found []byte) bool {
				if bytes.HasPrefix(k, []byte(key)) {
					v = bytes.Clone(found)
				}
				return false
			}, func(*boltpage.Hole) bool { return false })
			return none, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	b = open(t, dir, o)
	before := value(b, bucketWaybills, "WAYBILL2")
	// It costs its waybill, and holds up no depot.
	known, err := b.Known(t.Context(), "hz-01", []scan.WaybillID{"WAYBILL2"})
	asked, err2 := b.Answers(t.Context(), "hz-01", []snapshot.Ask{{Epoch: 1, Seq: 2, Waybill: "WAYBILL2", EventID: "e2"}})
	if err != nil || err2 != nil || len(known) > 0 || asked[0].Result != snapshot.Unknown {
		t.Errorf("known %v, %v; asked %+v, %v", known, err, asked, err2)
	}
	if m := send(t, b, 2, 7); m.Have != 7 || m.Answers[0].Result != snapshot.Taken || m.Answers[5].Result != snapshot.Taken {
		t.Errorf("sent again: %+v", m)
	}
	damaged := func(when string) {
		t.Helper()
		if _, _, err := b.Lookup(t.Context(), "WAYBILL2"); !errors.Is(err, snapshot.ErrDamaged) {
			t.Errorf("%s: looked up: %v", when, err)
		}
		if wb, ok, err := b.tailAndFile(t, "WAYBILL2"); !ok || err != nil || len(wb.Nodes) != 1 {
			t.Errorf("%s: it did not begin anew: %+v, %v", when, wb, err)
		}
	}
	damaged("before a merge")
	closed(t, b)
	b = open(t, dir, o)
	damaged("after a start")
	for range 2 {
		mergeNow(t, b)
		damaged("after a merge")
		if aside := value(b, bucketDamaged, "WAYBILL2\x00"); !bytes.Equal(aside, before) || len(before) == 0 {
			t.Errorf("it is not kept: %d bytes, there were %d", len(aside), len(before))
		}
		send(t, b, 8, 8)
	}
	if _, err := b.Import(t.Context(), []snapshot.Import{{Waybill: "WAYBILL2", Data: scan.Waybill{CreateTime: 1}}}); err != nil || nodes(t, b, 2) != 1 {
		t.Errorf("imported again: %v", err)
	}
	for _, past := range []bool{false, true} {
		if past {
			b.horizon = judge.Horizon{At: now().Add(time.Hour).Unix()}
		}
		forgetAll(t, b, 24*time.Hour)
		if kept := value(b, bucketDamaged, "WAYBILL2\x00"); (len(kept) > 0) == past {
			t.Errorf("kept %v, the waybill is past its time %v", len(kept) > 0, past)
		}
	}
	if _, ok, err := b.Lookup(t.Context(), "WAYBILL2"); ok || err != nil {
		t.Errorf("a forgotten one, looked up: %v, %v", ok, err)
	}
	closed(t, b)
}

// TestUnknownKeyInLog: a record that is not merged and cannot be decrypted costs its
// waybill until it comes again, is told, and stays in a log that is kept; the rest goes on.
func TestUnknownKeyInLog(t *testing.T) {
	dir := t.TempDir()
	now, move := movable(time.Date(2026, 3, 31, 0, 0, 0, 0, time.UTC))
	o := quiet
	o.Now = now
	b := open(t, dir, o)
	imported := func(id scan.WaybillID) {
		t.Helper()
		if _, err := b.Import(t.Context(), []snapshot.Import{{Waybill: id, Data: scan.Waybill{CreateTime: now().Unix(), Receiver: scan.Party{Name: "李四"}}}}); err != nil {
			t.Fatal(err)
		}
	}
	send(t, b, 1, 3)
	imported("WAYBILL1")
	imported("WAYBILL2")
	move(48 * time.Hour)
	send(t, b, 4, 6)
	imported("WAYBILL4")
	if _, err := b.Import(t.Context(), []snapshot.Import{{Waybill: "WAYBILL1", Data: scan.Waybill{CreateTime: now().Unix(), Receiver: scan.Party{Name: "王五"}}}}); err != nil {
		t.Fatal(err)
	}
	number := b.ring.Entries()[2].Number
	closed(t, b)
	edit(t, dir, logName, func(tx *bbolt.Tx) error { return tx.Bucket(bucketKeys).Delete(datakey.EntryKey(number)) })
	log, err := os.ReadFile(filepath.Join(dir, logName))
	if err != nil {
		t.Fatal(err)
	}
	told := []string{"5 records of the log cannot be decrypted", fmt.Sprint("data key ", number), "WAYBILL1 WAYBILL4 WAYBILL5 WAYBILL6"}
	states := func(when string) {
		t.Helper()
		for id, want := range map[scan.WaybillID]bool{"WAYBILL1": false, "WAYBILL2": true, "WAYBILL3": true, "WAYBILL4": false, "WAYBILL5": false} {
			if _, ok, err := b.Lookup(t.Context(), id); ok && err == nil != want || !want && !errors.Is(err, snapshot.ErrDamaged) {
				t.Errorf("%s, %s: %v, %v", when, id, ok, err)
			}
		}
	}
	for range 2 { // nothing is written before a merge
		b = open(t, dir, o)
		for _, word := range told {
			damageSays(t, b, word)
		}
		states("after a start")
		closed(t, b)
	}
	b = open(t, dir, o)
	mergeNow(t, b)
	states("merged")
	if m := send(t, b, 4, 6); m.Have != 6 || m.Answers[0].Result != snapshot.Taken {
		t.Errorf("sent again: %+v", m)
	}
	imported("WAYBILL1")
	imported("WAYBILL4")
	for seq := range uint64(6) {
		if w, _, err := b.tailAndFile(t, scan.WaybillID(fmt.Sprint("WAYBILL", seq+1))); err != nil || len(w.Nodes) != 1 {
			t.Errorf("WAYBILL%d: %+v, %v", seq+1, w, err)
		}
	}
	for end := time.Now().Add(time.Minute); !durable.Exists(filepath.Join(dir, logName+".damaged")) && time.Now().Before(end); {
		time.Sleep(time.Millisecond) // the committer does it behind the merge
	}
	closed(t, b)
	aside, err := os.ReadFile(filepath.Join(dir, logName+".damaged"))
	if err != nil || len(aside) < len(log) {
		t.Errorf("the log is not kept: %v", err)
	}
	b = open(t, dir, o)
	if d := stats(t, b).Damage; len(d) > 0 {
		t.Errorf("after the next start: %q", d)
	}
	closed(t, b)
}

// TestRekey: data keys are put under another master key, in both files, however often that
// is cut short in between; the one before opens nothing any more.
func TestRekey(t *testing.T) {
	dir := t.TempDir()
	old, next := hexKey(), hexKey()
	o := quiet
	o.Key = secret.Text(old)
	b := open(t, dir, o)
	send(t, b, 1, 3)
	mergeNow(t, b)
	send(t, b, 4, 5)
	masters := masterkey.Parse([]byte(next + "\n" + old))
	if _, err := boltfile.Rekey(dir, masters); !errors.Is(err, snapshot.ErrInUse) {
		t.Errorf("while it runs: %v", err)
	}
	closed(t, b)
	before := folder(t, dir)
	if _, err := boltfile.Rekey(dir, masters[:1]); !errors.Is(err, datakey.ErrKey) {
		t.Errorf("without the old key: %v", err)
	}
	if !reflect.DeepEqual(before, folder(t, dir)) {
		t.Error("what was refused changed something")
	}
	log, err := os.ReadFile(filepath.Join(dir, logName))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{4, 2, 0} { // the secret of phones and a data key in each
		if n, err := boltfile.Rekey(dir, masters); n != want || err != nil {
			t.Errorf("round %d: %d were wrapped, %v", i, n, err)
		}
		if i > 0 {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, logName), log, 0o600); err != nil { // as where it was killed
			t.Fatal(err)
		}
		o.Key = secret.Text(next + "\n" + old)
		b = open(t, dir, o)
		if nodes(t, b, 2) != 1 || nodes(t, b, 5) != 1 {
			t.Error("in between it cannot be read")
		}
		closed(t, b)
	}
	o.Key = secret.Text(old)
	if _, err := Open(dir, o); !errors.Is(err, datakey.ErrKey) {
		t.Errorf("with the old key: %v", err)
	}
	o.Key = secret.Text(next)
	b = open(t, dir, o)
	if nodes(t, b, 2) != 1 || nodes(t, b, 5) != 1 || len(stats(t, b).Damage) > 0 {
		t.Errorf("with the new key: %v", stats(t, b).Damage)
	}
	send(t, b, 6, 6)
	closed(t, b)
}
