package postgres

import (
	"fmt"

	"github.com/jackc/pgx/v5"

	"scanrelay/agent/scan"
)

// A row of a waybill that is damaged, or whose data key is lost, costs what it held, and holds up no depot: whoever writes
// something new for the waybill keeps the row as a document, in the same transaction, until
// the waybill is forgotten. The new row says that it began anew: until its data is known
// again no process may tell that there is none.

// asidePrefix, the waybill and the version of the row that takes its place are the name
// of such a document: a table that is put back has the damaged row and its version again.
const asidePrefix = "damaged/"

// putAside keeps the damaged rows of waybills that are written.
func (w *writes) putAside(b *pgx.Batch) {
	var names []string
	var docs [][]byte
	for id := range w.Facts.Waybills {
		if row := w.broken[id]; row != nil {
			names, docs = append(names, fmt.Sprintf("%s%s/%d", asidePrefix, id, w.version)), append(docs, row)
		}
	}
	if len(names) > 0 {
		b.Queue(sqlPutDocuments, names, docs, make([]int64, len(names)))
	}
}

// forgetAside deletes what was kept of a waybill whose row, which took its place, is gone.
func forgetAside(b *pgx.Batch, id scan.WaybillID) {
	prefix := asidePrefix + string(id) + "/"
	b.Queue(sqlForgetAside, string(id), prefix, prefix+"\U0010ffff")
}
