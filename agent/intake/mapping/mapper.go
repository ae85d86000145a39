package mapping

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"scanrelay/agent/intake/decode"
	"scanrelay/agent/intake/sparkplug"
	"scanrelay/agent/scan"
)

// Mapper turns messages into batches of scan events. Beside what Sparkplug's
// births said it keeps no state: what comes out depends on topic, payload, info
// and the clock alone. It is safe for concurrent use.
type Mapper struct {
	rules  atomic.Pointer[Rules]
	clock  Clock
	births *sparkplug.Births
}

// Clock tells the time and whether it can be believed.
type Clock interface {
	Now() time.Time
	Believable() bool
	// Boot returns the kernel's boot id and the time since that boot.
	Boot() (id string, since time.Duration)
}

// Info is what is known of a message beside its topic and payload.
type Info struct {
	DUP      bool // the sender says that it sent it before
	Retained bool // the broker had kept it: RETAIN was set on delivery
	// ReceivedAt is when it came; zero: now.
	ReceivedAt time.Time
	// Serial tells messages of one process apart that came at the same
	// moment; it only goes into the ids of events that have neither an id nor
	// a time.
	Serial uint64
	// Size is that of the whole payload, where only its beginning is left; 0:
	// it is whole.
	Size int64

	again bool // it comes out of the quarantine; see Again
	part  bool // and was an element of a message
}

// New returns a Mapper by these rules. Without a clock it believes the machine's,
// without births it remembers them until it is forgotten.
func New(rules *Rules, clock Clock, births *sparkplug.Births) *Mapper {
	if clock == nil {
		clock = systemClock{}
	}
	if births == nil {
		births = sparkplug.NewBirths(nil)
	}
	m := &Mapper{clock: clock, births: births}
	m.Update(rules)
	return m
}

// Update puts other rules in the place of these, between two messages.
func (m *Mapper) Update(rules *Rules) { m.rules.Store(rules) }

// Births remembers what Sparkplug's births said, and whom to ask for new ones.
func (m *Mapper) Births() *sparkplug.Births { return m.births }

// Now is the clock's time.
func (m *Mapper) Now() time.Time { return m.clock.Now() }

// MaxPayload is the largest payload that is decoded, in bytes.
func (m *Mapper) MaxPayload() int64 { return int64(m.rules.Load().maxPayload) }

// Subscription is a filter that a Source has to subscribe to.
type Subscription struct {
	Filter string
	QoS    byte
}

// maxTopic is the longest topic whose messages are read, in bytes: much is remembered by
// topic.
const maxTopic = 1 << 10

// maxReads bounds how many reads one message may hold.
const maxReads = decode.MaxLines

// Subscriptions lists what a Source has to subscribe to.
func (m *Mapper) Subscriptions() []Subscription {
	var subs []Subscription
	for _, s := range m.rules.Load().sources {
		subs = append(subs, Subscription{s.cfg.Topic, byte(s.cfg.QoS)})
	}
	return subs
}

// Map turns one message into a batch. Whatever the message is, the batch has at
// least one event, reject or ignored read.
func (m *Mapper) Map(topic string, payload []byte, info Info) scan.Batch {
	return m.run(topic, payload, info, nil)
}

// job is the mapping of one message.
type job struct {
	*Rules
	m        *Mapper
	src      *source
	topic    string
	levels   []string
	sent     []byte // the payload as it came
	payload  []byte // in UTF-8
	info     Info
	received time.Time
	batch    scan.Batch
	expanded map[*decode.Node][]decode.Element // what the waybill field's * finds in what is around elements
	around   int                               // bytes kept around rejected elements
	triggers map[triggerKey]bool
	trace    *Explanation // nil: nobody asks
}

func (m *Mapper) run(topic string, payload []byte, info Info, trace *Explanation) scan.Batch {
	j := &job{
		Rules: m.rules.Load(), m: m, topic: topic, levels: strings.Split(topic, "/"),
		sent: payload, payload: payload, info: info, received: info.ReceivedAt, trace: trace,
	}
	if j.received.IsZero() {
		j.received = m.clock.Now()
	}
	j.batch.Redelivered = info.DUP
	for _, s := range j.sources {
		if s.filter.Match(j.levels) {
			j.src = s
			break
		}
	}
	j.trace.start(topic, j.src)
	j.batch.OnChange = j.src != nil && j.src.cfg.OnChange
	j.message()
	return j.batch
}

// message maps the whole message.
func (j *job) message() {
	if j.src == nil {
		j.ignore(nil, "no source has a topic filter that matches")
		return
	}
	if len(j.topic) > maxTopic {
		bad := problemf("too_large", "a topic of %s, more than %s: the beginning of it is kept", sized(int64(len(j.topic))), sized(maxTopic))
		j.topic = valid(j.topic[:maxTopic])
		j.reject(nil, bad)
		return
	}
	if max(int64(len(j.payload)), j.info.Size) > int64(j.maxPayload) {
		j.tooLarge()
		return
	}
	if bad := j.unwrap(); bad != nil {
		j.reject(nil, bad)
		return
	}
	text := decode.Strip(j.payload)
	if len(text) == 0 && !j.src.numberInTopic() {
		j.ignore(nil, "the payload is empty")
		return
	}
	if j.src.decoder != "sparkplug" {
		if bad := j.toUTF8(); bad != nil {
			j.reject(nil, bad)
			return
		}
		text = decode.Strip(j.payload)
	}
	var elements []element
	var bad *problem
	if len(text) > 0 {
		elements, bad = j.elements()
	}
	switch {
	case bad != nil && matchesAny(j.src.ignore, text):
		j.ignore(nil, "the payload matches ignore")
		return
	case bad != nil:
		j.reject(nil, bad)
		return
	}
	if len(elements) > maxReads {
		j.reject(nil, tooMany())
		return
	}
	if len(elements) == 0 && j.empty() {
		if !j.src.numberInTopic() {
			j.ignore(nil, "there is no read in it")
			return
		}
		nothing := decode.NewObject(nil, nil)
		elements = []element{{alone: true, node: &nothing}}
	}
	j.reads(elements)
}

// unwrap takes the payload out of what it is in: base64 or hex, if the source says
// so, then gzip or zlib, which say so themselves, or deflate, which is known by what
// comes out of it. A part that is replayed was taken out when it came.
func (j *job) unwrap() *problem {
	if len(decode.Strip(j.payload)) == 0 {
		return nil
	}
	if j.src.form != decode.Plain && !j.info.part {
		b, err := j.src.form.Decode(string(j.payload))
		if err != nil {
			return problemf("bad_"+j.src.form.String(), "the payload is no %s: %s; take payload out of %s of %s if the device sends it plainly",
				j.src.form, err, j.src.form, j.src.name())
		}
		j.payload = b
	}
	plain, how, err := j.unpack(j.payload, j.maxPayload)
	switch {
	case errors.Is(err, decode.ErrUnpacked):
		return problemf("too_large", "unpacked by %s it is more than %s: let the device send smaller messages", how, sized(int64(j.maxPayload)))
	case err != nil:
		return problemf("bad_packed", "it begins as %s and is none: %s", how, err)
	case how != "":
		j.payload = plain
	}
	return nil
}

// unpack unpacks what is packed. Deflate says by nothing that it is it: what may be
// something else stays that.
func (j *job) unpack(b []byte, limit int) (plain []byte, how string, err error) {
	if plain, how, err = decode.Unpack(b, limit); how == "deflate" {
		_, isGBK := decode.GBK(b)
		if j.src.decoder == "sparkplug" || j.src.gbk && isGBK {
			return nil, "", nil
		}
	}
	return plain, how, err
}

// empty reports whether nothing was counted yet.
func (j *job) empty() bool { return j.batch.Ignored == 0 && len(j.batch.Rejects) == 0 }

// keptOfLarge is how much is kept of a payload that is too large.
const keptOfLarge = 64 << 10

// tooLarge keeps the beginning of a payload that is not decoded: enough to tell
// what it is, and so little that a device that sends many of them does not take
// the whole quarantine at once.
func (j *job) tooLarge() {
	size := max(int64(len(j.payload)), j.info.Size)
	j.sent = j.sent[:min(len(j.sent), keptOfLarge)]
	j.reject(nil, problemf("too_large", "%s, more than %s: the first %s are kept; let the device send smaller messages",
		sized(size), sized(int64(j.maxPayload)), sized(int64(len(j.sent)))))
}

// sized is a number of bytes for people; a long number would be masked as a phone
// number may be.
func sized(n int64) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 10<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	default:
		return fmt.Sprintf("%d bytes", n)
	}
}

// problem is why something is rejected.
type problem struct {
	code, reason string
	whole        bool // an element as JSON would not hold what it is about: keep the message
}

func problemf(code, format string, args ...any) *problem {
	return &problem{code: code, reason: valid(fmt.Sprintf(format, args...))} // a topic need not be UTF-8
}

// unreadable is the problem of what a decoder cannot read.
func unreadable(at string, n *decode.Node) *problem {
	p := problemf(scan.NoWaybill, "at %s, where the waybill number should be, stands %s, which is not read", at, n.What())
	p.whole = true
	return p
}

// ignore counts a read that is none; el is nil for the whole message.
func (j *job) ignore(el *element, why string) {
	j.batch.Ignored++
	j.trace.end(el, "ignored", why, nil)
}

// reject keeps an element, or with nil the whole message, for quarantine.
func (j *job) reject(el *element, p *problem) {
	r := scan.Reject{
		Topic: j.topic, Payload: j.sent, Index: -1, Code: p.code, Reason: p.reason, ReceivedAt: j.received,
		Clockless: j.bootTime(),
	}
	if el != nil && !el.alone {
		r.Payload, r.Index = j.inUTF8(j.apart(el)), el.index
	}
	r.Payload = bytes.Clone(r.Payload)
	j.batch.Rejects = append(j.batch.Rejects, r)
	j.trace.end(el, "rejected", p.reason, nil)
}

// bootTime is when the message came, by the time since the boot; nil: the clock can be
// believed.
func (j *job) bootTime() *scan.BootTime {
	clock := j.m.clock
	if clock.Believable() {
		return nil
	}
	boot, since := clock.Boot()
	since -= clock.Now().Sub(j.received) // it may have come a while ago
	return &scan.BootTime{Boot: boot, Since: max(0, since)}
}

// maxAround bounds what is kept around the rejected elements of one message.
const maxAround = 256 << 10

// apart is one element of several, with what is around it but without the others,
// so that it can be mapped again on its own. Of too much the element alone is kept.
func (j *job) apart(el *element) []byte {
	if !j.src.json() || el.node == nil {
		return el.raw
	}
	whole := decode.Apart(el.node, el.around)
	if j.around += len(whole) - len(el.raw); j.around > maxAround {
		return el.raw
	}
	return whole
}

// Again maps what is in quarantine; serial is its number there. The events it
// comes to have the same identity each time. False: no source takes it, or it
// is not whole.
func (m *Mapper) Again(r scan.Reject, serial uint64) (scan.Batch, bool) {
	if r.Code == "too_large" || len(r.Payload) == 0 || !m.Takes(r.Topic) {
		return scan.Batch{}, false
	}
	b := m.Map(r.Topic, r.Payload, Info{ReceivedAt: r.ReceivedAt, Serial: serial, again: true, part: r.Index >= 0})
	for i := range b.Events {
		b.Events[i].Weak = scan.WeakKey{} // nobody sends it once more
	}
	for i := range b.Rejects {
		if b.Rejects[i].Clockless = r.Clockless; b.Rejects[i].Index < 0 {
			b.Rejects[i].Index = r.Index
		}
	}
	return b, true
}

// Takes reports whether a source takes messages of a topic.
func (m *Mapper) Takes(topic string) bool {
	levels := strings.Split(topic, "/")
	return slices.ContainsFunc(m.rules.Load().sources, func(s *source) bool { return s.filter.Match(levels) })
}

// systemClock is the machine's clock, believed.
type systemClock struct{}

func (systemClock) Now() time.Time                { return time.Now() }
func (systemClock) Believable() bool              { return true }
func (systemClock) Boot() (string, time.Duration) { return "", 0 }
