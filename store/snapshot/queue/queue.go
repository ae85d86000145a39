package queue

import (
	"context"
	"fmt"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/judge"
)

// Request is one caller's part of a group. The committer sets Out or Err.
type Request struct {
	judge.Call
	Out snapshot.Merged
	Err error
	// Gained is what tries told that may have been committed, though no answer came.
	Gained []scan.WaybillID

	done chan struct{}
}

// Settle lets the caller go.
func (r *Request) Settle() { close(r.done) }

// Queue is where calls wait for the committer.
type Queue struct {
	Requests chan *Request // what the committer takes the first of a group from

	life context.Context
	most int
}

// New makes a Queue of a store that lives as long as life, whose cause is then what
// callers are told; most bounds the size of a group.
func New(life context.Context, most int) *Queue {
	return &Queue{Requests: make(chan *Request), life: life, most: most}
}

// Gather takes whoever else waits.
func (q *Queue) Gather(first *Request) []*Request {
	group, size := []*Request{first}, first.Size()
	for size < q.most {
		select {
		case r := <-q.Requests:
			group = append(group, r)
			size += r.Size()
		default:
			return group
		}
	}
	return group
}

// Merge hands a batch to the committer and waits for its end.
func (q *Queue) Merge(ctx context.Context, b snapshot.Batch) (snapshot.Merged, error) {
	out, err := q.submit(ctx, judge.Call{Batch: b})
	if err != nil {
		return snapshot.Merged{}, fmt.Errorf("merge batch: %w", err)
	}
	return out, nil
}

// Import does the same with waybill data.
func (q *Queue) Import(ctx context.Context, items []snapshot.Import) (snapshot.Imported, error) {
	if len(items) == 0 {
		return snapshot.Imported{}, context.Cause(q.life)
	}
	out, err := q.submit(ctx, judge.Call{Imports: items})
	if err != nil {
		return snapshot.Imported{}, fmt.Errorf("import waybill data: %w", err)
	}
	return out.Imported, nil
}

// submit lets ctx end the wait for the committer only.
func (q *Queue) submit(ctx context.Context, c judge.Call) (snapshot.Merged, error) {
	if err := c.Check(); err != nil {
		return snapshot.Merged{}, err
	}
	if err := context.Cause(q.life); err != nil {
		return snapshot.Merged{}, err
	}
	r := &Request{Call: c, done: make(chan struct{})}
	select {
	case q.Requests <- r:
	case <-ctx.Done():
		return snapshot.Merged{}, ctx.Err()
	case <-q.life.Done():
		return snapshot.Merged{}, context.Cause(q.life)
	}
	<-r.done // whatever ctx says: nobody is told twice what was gained
	return r.Out, r.Err
}
