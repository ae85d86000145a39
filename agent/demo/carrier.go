package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"scanrelay/configs/wait"
	"scanrelay/uplink/syncapi"
)

// carrier plays the carrier's own system: it sends waybill data to the centre
// (POST /v1/waybills), before the first scan or, for a few, after it.
type carrier struct {
	url, token string // the centre's
	client     *http.Client
	late       chan *parcel
	lateBy     time.Duration
}

// newCarrier makes one for that many parcels.
func newCarrier(url, token string, lateBy time.Duration, parcels int) *carrier {
	return &carrier{url: url, token: token, client: &http.Client{Timeout: 10 * time.Second}, late: make(chan *parcel, parcels), lateBy: lateBy}
}

// waybillLine is one line of POST /v1/waybills.
type waybillLine struct {
	WaybillID string `json:"waybill_id"`
	syncapi.Waybill
}

// importBatch is how many waybills go in one request.
const importBatch = 500

// early sends the data of all parcels that are not late.
func (c *carrier) early(ctx context.Context, parcels []*parcel) error {
	punctual := slices.DeleteFunc(slices.Clone(parcels), func(p *parcel) bool { return p.late })
	for batch := range slices.Chunk(punctual, importBatch) {
		if err := c.post(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

// begun is told of every parcel's first scan.
func (c *carrier) begun(p *parcel) {
	if p.late {
		c.late <- p // has room for all parcels
	}
}

// run sends the late parcels' data, lateBy after their first scan, until ctx
// ends. What is waiting then is sent at once: the demo is about to drain.
func (c *carrier) run(ctx context.Context) error {
	for {
		select {
		case p := <-c.late:
			wait.Sleep(ctx, c.lateBy)
			if err := c.post(context.WithoutCancel(ctx), c.rest(p)); err != nil {
				return err
			}
		case <-ctx.Done():
			if rest := c.rest(); len(rest) > 0 {
				return c.post(context.WithoutCancel(ctx), rest)
			}
			return nil
		}
	}
}

// rest takes all that waits.
func (c *carrier) rest(batch ...*parcel) []*parcel {
	for {
		select {
		case p := <-c.late:
			batch = append(batch, p)
		default:
			return batch
		}
	}
}

func (c *carrier) post(ctx context.Context, parcels []*parcel) error {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	for _, p := range parcels {
		if err := enc.Encode(waybillLine{p.waybill, p.data}); err != nil {
			return fmt.Errorf("encode waybill data: %w", err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/v1/waybills", &body)
	if err != nil {
		return fmt.Errorf("send waybill data: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("Content-Type", "application/x-ndjson")
	resp, err := c.client.Do(req)
	if err != nil {
		return fmt.Errorf("send waybill data: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("send waybill data: %w", err)
	}
	return checkImport(resp.StatusCode, answer, len(parcels))
}

func checkImport(status int, answer []byte, sent int) error {
	var got struct {
		Stored   int   `json:"stored"`
		Rejected []any `json:"rejected"`
	}
	if status != http.StatusOK || json.Unmarshal(answer, &got) != nil || got.Stored != sent {
		return fmt.Errorf("send waybill data: the centre answered HTTP %d and stored %d of %d", status, got.Stored, sent)
	}
	return nil
}
