package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"golang.org/x/sync/errgroup"

	"scanrelay/agent/intake/link"
)

// device is one simulated scanner: a real MQTT client that publishes with QoS 1
// and waits for each acknowledgement.
type device struct {
	name   string
	topic  string
	queue  chan scanJob
	batch  int // most reads in one message
	encode func(jobs []scanJob, now time.Time) []byte
	noise  []byte // sent now and then: what devices say besides scans
	client mqtt.Client
}

// scanJob is one scan to publish.
type scanJob struct {
	stop
	parcel, index int
}

// devices makes all the demo's scanners.
func makeDevices() map[string]*device {
	all := map[string]*device{}
	add := func(d *device) {
		d.queue = make(chan scanJob, 4096)
		all[d.name] = d
	}
	for _, o := range outlets {
		add(&device{name: o.dock, topic: "dock/" + o.dock + "/reads", batch: 1, encode: encodeText, noise: []byte("\x02NOREAD\x03\r\n")})
	}
	for _, g := range gloves {
		add(&device{name: g, topic: "proglove/gateway/" + g + "/scan", batch: 1, encode: encodeProGlove,
			noise: []byte(`{"api_version":"1.0","event_type":"gateway_state","event_id":"4f7c","gateway_serial":"` + g + `"}`)})
	}
	for _, sorter := range []string{"RFD40-11", "RFD40-12", "RFD40-13", "RFD40-14"} {
		add(&device{name: sorter, topic: "zebra/DATA/clients/data1event/" + sorter, batch: 4, encode: encodeZebra,
			noise: []byte(`{"type":"BALANCED_PERFORMANCE","timestamp":"2026-01-01T00:00:00Z","data":{"barcodeData":[]}}`)})
	}
	for i, pda := range handhelds {
		add(&device{name: pda, topic: "scans/" + pda, batch: 1, encode: encodeHandheld})
		if i == 0 { // somebody scans the number on a business card
			all[pda].noise = []byte(`{"waybill_id":"13800138000","action_type":300003,"action_msg":"已签收"}`)
		}
	}
	return all
}

// encodeText is what a line scanner sends: STX, the code, ETX.
func encodeText(jobs []scanJob, _ time.Time) []byte {
	return []byte("\x02" + jobs[0].waybill + "\x03\r\n")
}

func encodeProGlove(jobs []scanJob, now time.Time) []byte {
	j := jobs[0]
	return mustJSON(map[string]any{
		"api_version": "1.0", "event_type": "scan", "event_id": fmt.Sprintf("22d4a950-b373-42a3-%04x-%012x", j.index, j.parcel),
		"time_created": now.UnixMilli(), "scan_code": j.waybill, "device_serial": fmt.Sprintf("MDMR1021048%02d", j.parcel%40),
	})
}

func encodeZebra(jobs []scanJob, now time.Time) []byte {
	reads := make([]any, len(jobs))
	for i, j := range jobs {
		reads[i] = map[string]any{"decodedBarcode": j.waybill, "symbology": "CODE128"}
	}
	return mustJSON(map[string]any{
		"type": "BALANCED_PERFORMANCE", "timestamp": now.UTC().Format("2006-01-02T15:04:05.000Z"), "data": map[string]any{"barcodeData": reads},
	})
}

func encodeHandheld(jobs []scanJob, now time.Time) []byte {
	j := jobs[0]
	if j.stale {
		now = now.Add(-2 * time.Minute)
	}
	m := map[string]any{
		"waybill_id": j.waybill, "action_type": j.action, "action_msg": j.msg, "action_time": now.Unix(),
		"device_id": j.device, "event_id": fmt.Sprintf("%s-%d-%d", j.device, j.parcel, j.index),
	}
	if j.courier.Name != "" {
		m["delivery_courier_name"], m["delivery_courier_phone"] = j.courier.Name, j.courier.Phone
	}
	return mustJSON(m)
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("encode %T: %v", v, err)) // only our own types are in it
	}
	return b
}

// fleet is all devices with their connections.
type fleet struct {
	devices map[string]*device
	sent    func(scanJob) // before it is published
	acked   func(scanJob) // after the broker acknowledged it
}

// run connects every device, publishes what is queued until ctx ends, and
// disconnects.
func (f *fleet) run(ctx context.Context, broker string) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, d := range f.devices {
		g.Go(func() error {
			if err := d.connect(ctx, broker); err != nil {
				return err
			}
			defer d.client.Disconnect(100)
			return f.work(ctx, d)
		})
	}
	return g.Wait()
}

func (d *device) connect(ctx context.Context, broker string) error {
	o := mqtt.NewClientOptions().AddBroker(broker).SetClientID(d.name).SetProtocolVersion(4).
		SetCleanSession(false).SetKeepAlive(30 * time.Second).SetConnectRetry(true).SetConnectRetryInterval(time.Second).
		SetMaxReconnectInterval(2 * time.Second)
	d.client = mqtt.NewClient(o)
	return told(ctx, d.client.Connect(), "connect scanner "+d.name)
}

// noiseEvery is how many messages a device sends between two that are no scan.
const noiseEvery = 9

// work publishes what is queued until ctx ends.
func (f *fleet) work(ctx context.Context, d *device) error {
	for n := 1; ; n++ {
		jobs := d.next(ctx)
		if jobs == nil {
			return nil
		}
		if err := f.scan(ctx, d, jobs); err != nil {
			return err
		}
		if d.noise != nil && n%noiseEvery == 4 {
			if err := d.publish(ctx, d.noise); err != nil {
				return err
			}
		}
	}
}

// scan publishes one message of scans.
func (f *fleet) scan(ctx context.Context, d *device, jobs []scanJob) error {
	for _, j := range jobs {
		f.sent(j)
	}
	payload := d.encode(jobs, time.Now())
	if err := d.publish(ctx, payload); err != nil || ctx.Err() != nil {
		return err
	}
	for _, j := range jobs {
		f.acked(j)
	}
	if jobs[0].twice { // a handheld that missed the answer
		return d.publish(ctx, payload)
	}
	return nil
}

// batchDelay is how long a device that sends several reads at once waits for more.
const batchDelay = 250 * time.Millisecond

// next waits for a scan and, where a message holds several, for more. It
// returns nil when ctx has ended.
func (d *device) next(ctx context.Context) []scanJob {
	var jobs []scanJob
	var full <-chan time.Time
	for len(jobs) < d.batch {
		select {
		case j := <-d.queue:
			jobs = append(jobs, j)
			if full == nil && d.batch > 1 {
				full = time.After(batchDelay)
			}
		case <-full:
			return jobs
		case <-ctx.Done():
			return nil
		}
	}
	return jobs
}

// publish publishes with QoS 1 and waits for the acknowledgement: from then on
// the scan is on the depot's disk. After ctx has ended nothing is known.
func (d *device) publish(ctx context.Context, payload []byte) error {
	return told(ctx, d.client.Publish(d.topic, 1, false, payload), "publish on "+d.topic)
}

// told waits for the answer to what. After ctx has ended nothing is known, and
// nothing wrong.
func told(ctx context.Context, token mqtt.Token, what string) error {
	if err := link.Done(ctx, token); err != nil && ctx.Err() == nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
