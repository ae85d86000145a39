package bolt

import (
	"bytes"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/masterkey"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/datakey"
	"scanrelay/store/snapshot/judge"
	"scanrelay/store/snapshot/values"
)

// TestEveryValueIsSummed flips each bit of each kind of value, and of its key: it
// is never believed.
func TestEveryValueIsSummed(t *testing.T) {
	blockKey, place := values.BlockKey(judge.Number{Depot: "hz-01", Epoch: 3, Seq: 7})
	block := values.EncodeBlock(blockKey, values.Block{place: {Ident: 1, Result: snapshot.Taken, At: 5}})
	phone := judge.KeyOf([]byte("key"), "13800138000")
	ring := datakey.New()
	if err := ring.Begin([]masterkey.Key{masterkey.Random()}, []byte("phones"), time.Unix(0, 0)); err != nil {
		t.Fatal(err)
	}
	dataKey, wrapped := values.EncodeKey(ring.Entries()[1])
	holeKey, hole := values.EncodeHole(values.Hole{Low: "YT1", High: []byte("YT2"), At: 9})
	for bucket, w := range map[string]write{
		string(bucketWaybills): {key: []byte("YT1"), value: values.EncodeState(ring, []byte("YT1"), &judge.State{Changed: 5, Data: &scan.Waybill{CreateTime: 3}})},
		string(bucketNumbers):  {key: blockKey, value: block},
		string(bucketDepots):   {key: values.EpochKey("hz-01", 3), value: values.EncodeEpoch(values.EpochKey("hz-01", 3), &judge.Epoch{Have: 5})},
		string(bucketBindings): {key: phone[:], value: values.EncodeBinding(phone[:], judge.Binding{Exist: true, At: 5})},
		string(bucketKeys):     {key: dataKey, value: wrapped},
		string(bucketHoles):    {key: holeKey, value: hole},
		string(bucketLog):      {key: number(8), value: values.EncodeRecord(ring, number(8), &judge.Record{Kind: judge.RecordAgain, At: 5})},
	} {
		if _, err := values.Forms[bucket](w.key, w.value); err != nil {
			t.Errorf("%s: %v", bucket, err)
		}
		all := append(bytes.Clone(w.key), w.value...)
		for bit := range 8 * len(all) {
			b := bytes.Clone(all)
			b[bit/8] ^= 1 << (bit % 8)
			if _, err := values.Forms[bucket](b[:len(w.key)], b[len(w.key):]); err == nil {
				t.Errorf("%s: bit %d flipped: believed", bucket, bit)
			}
		}
	}
}
