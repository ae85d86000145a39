package tokens

import (
	"context"
	"time"

	"scanrelay/configs/secret"
	"scanrelay/configs/wait"
	"scanrelay/uplink/central/documents"
)

// Several processes have one token. What is known of it stands in one record; what a
// process hears it puts there, and who finds that something is due takes a lease, looks
// again, and does it. One who dies with the lease leaves it to the others when it ends; the
// token that he may have fetched is the valid one still, since none is ever forced.

// Table is where processes of a centre keep the token.
type Table interface {
	documents.Table
	// Time is the table's clock, by which leases end and all times of the record are.
	Time(ctx context.Context) (time.Time, error)
	// Lease takes or keeps a lease of that name for so long; false: another process has it.
	Lease(ctx context.Context, name string, life time.Duration) (bool, error)
	EndLease(ctx context.Context, name string) error
	// Encrypt encrypts what is kept under a name, and Decrypt gives it back.
	Encrypt(ctx context.Context, name string, plain []byte) ([]byte, error)
	Decrypt(ctx context.Context, name string, sealed []byte) ([]byte, error)
}

const (
	recordName = "token"
	// leaseLife is how long one who died keeps the others waiting; a turn is cut off well
	// before.
	leaseLife = time.Minute
	turnLimit = 45 * time.Second
	// shareEvery is how often the record is looked at, and waitEvery while something is
	// due that another process does.
	shareEvery = 2 * time.Second
	waitEvery  = 250 * time.Millisecond
	failPause  = time.Second
	tableLimit = 5 * time.Second
	// acceptedEvery is how often it is told that a depot succeeds with the token.
	acceptedEvery = 10 * time.Second
)

// clock is the table's, by ours.
type clock struct{ then, read time.Time }

// news is what the record does not have yet.
type news struct {
	doubted  string    // the generation that a depot complained of
	accepted time.Time // when one saw it taken
}

// record is the state as it is kept.
type record struct {
	Token      []byte    `json:"token,omitempty"` // encrypted
	Generation string    `json:"generation,omitempty"`
	Until      time.Time `json:"until,omitzero"`
	Accepted   time.Time `json:"accepted,omitzero"`
	Checked    time.Time `json:"checked,omitzero"`
	Tried      time.Time `json:"tried,omitzero"`
	Refused    bool      `json:"refused,omitempty"`
	Refusals   int       `json:"refusals,omitempty"`
	Doubted    bool      `json:"doubted,omitempty"`
	Turn       uint64    `json:"turn"` // how often something was done
	Trouble    struct {
		State  string        `json:"state,omitempty"`
		Reason string        `json:"reason,omitempty"`
		Secret bool          `json:"secret,omitempty"`
		Of     string        `json:"of,omitempty"`
		Wait   time.Duration `json:"wait,omitempty"`
		Next   time.Time     `json:"next,omitzero"`
	} `json:"trouble"`
}

func (t *Tokens) runShared(ctx context.Context) {
	failed := wait.Rarely{Every: time.Minute}
	for pause := time.Duration(0); t.account() && sleepOr(ctx, pause, t.kick); {
		done, err := t.share(ctx)
		due := t.untilNext()
		switch pause = min(max(due, waitEvery), shareEvery); {
		case err != nil && ctx.Err() == nil:
			if more, tell := failed.Due(t.o.Now()); tell {
				t.o.Logger.Error("share the access token with other processes", "error", err, "failed_since_last_line", more)
			}
			pause = failPause
		case done:
			pause = min(max(0, due), shareEvery)
		}
	}
}

// share tells and learns what is new, and does what is due if no other process does.
func (t *Tokens) share(ctx context.Context) (done bool, err error) {
	if _, err := t.exchange(ctx); err != nil || t.untilNext() > 0 {
		return false, err
	}
	limited, cancel := context.WithTimeout(ctx, turnLimit)
	defer cancel()
	if ours, err := t.o.Table.Lease(limited, recordName, leaseLife); err != nil || !ours {
		return false, err
	}
	defer func() { // whatever ctx says: the others wait for it
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tableLimit)
		defer cancel()
		if end := t.o.Table.EndLease(ctx, recordName); err == nil {
			err = end
		}
	}()
	before, err := t.exchange(limited) // another may have done it just now
	if err != nil || t.untilNext() > 0 {
		return false, err
	}
	if t.turn(limited); ctx.Err() != nil {
		return false, ctx.Err()
	}
	return true, t.publish(ctx, before.Turn)
}

// exchange takes over the record, with our news in it.
func (t *Tokens) exchange(ctx context.Context) (now record, err error) {
	ctx, cancel := context.WithTimeout(ctx, tableLimit)
	defer cancel()
	at, err := t.o.Table.Time(ctx)
	if err != nil {
		return now, err
	}
	t.mu.Lock()
	t.clock = clock{at, t.o.Now()}
	t.mu.Unlock()
	return documents.Change(ctx, t.o.Table, recordName, func(r *record) (bool, error) {
		var value secret.Text
		if t.known(r.Generation) == "" && len(r.Token) > 0 {
			text, err := t.o.Table.Decrypt(ctx, recordName, r.Token)
			if err != nil { // it is fetched again
				t.o.Logger.Error("read the access token that processes share", "error", err)
				*r = record{Turn: r.Turn}
			}
			value = secret.Text(text)
		}
		return t.takeOver(r, value), nil
	})
}

// known is the token of a generation, as far as it is known here.
func (t *Tokens) known(generation string) secret.Text {
	t.mu.Lock()
	defer t.mu.Unlock()
	if generation != t.token.generation {
		return ""
	}
	return t.token.value
}

// takeOver puts a record in the place of what is known here, and our news into both; it
// reports whether the record changed by that.
func (t *Tokens) takeOver(r *record, value secret.Text) (changed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	was, told := t.state, t.news
	if t.news = (news{}); r.Turn > 0 {
		t.state = r.state()
	}
	if t.token.value = value; value == "" && t.token.generation == was.token.generation {
		t.token.value = was.token.value
	}
	now := t.now()
	if told.doubted != "" && told.doubted == t.token.generation && !t.token.refused && now.Sub(t.token.checked) >= checkEvery && !t.doubted {
		t.doubted, changed = true, true
		t.news.doubted = told.doubted
	}
	if told.accepted.After(t.token.accepted) && was.token.generation == t.token.generation {
		t.news.accepted = told.accepted
		tell := t.token.refused || told.accepted.Sub(t.token.accepted) >= acceptedEvery
		t.acceptedLocked(told.accepted)
		changed = changed || tell
	}
	if was.doubted && !t.doubted {
		close(t.done)
		t.done = make(chan struct{})
	}
	if changed {
		r.set(&t.state)
	}
	return changed
}

// publish puts what came of a turn into the record, unless another process did something
// meanwhile, which had our lease then.
func (t *Tokens) publish(ctx context.Context, turn uint64) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tableLimit)
	defer cancel()
	t.mu.Lock()
	s := t.state
	t.mu.Unlock()
	sealed, err := t.o.Table.Encrypt(ctx, recordName, []byte(s.token.value.Reveal()))
	if err != nil {
		return err
	}
	_, err = documents.Change(ctx, t.o.Table, recordName, func(r *record) (bool, error) {
		if r.Turn != turn {
			return false, nil // taken over with the next exchange
		}
		if r.Generation == s.token.generation && r.Accepted.After(s.token.accepted) {
			s.token.accepted = r.Accepted
		}
		r.set(&s)
		r.Token, r.Turn = sealed, turn+1
		if s.token.value == "" {
			r.Token = nil
		}
		return true, nil
	})
	return err
}

func (r *record) state() state {
	return state{
		token: granted{
			generation: r.Generation, until: r.Until, accepted: r.Accepted, checked: r.Checked, tried: r.Tried, refused: r.Refused,
		},
		refusals: r.Refusals, doubted: r.Doubted,
		trouble: trouble{state: r.Trouble.State, reason: r.Trouble.Reason, secret: r.Trouble.Secret, of: r.Trouble.Of, wait: r.Trouble.Wait, next: r.Trouble.Next},
	}
}

// set puts a state in, but for the token's text.
func (r *record) set(s *state) {
	r.Generation, r.Until, r.Accepted, r.Checked, r.Tried, r.Refused = s.token.generation, utc(s.token.until), utc(s.token.accepted), utc(s.token.checked), utc(s.token.tried), s.token.refused
	r.Refusals, r.Doubted = s.refusals, s.doubted
	r.Trouble.State, r.Trouble.Reason, r.Trouble.Secret, r.Trouble.Of = s.trouble.state, s.trouble.reason, s.trouble.secret, s.trouble.of
	r.Trouble.Wait, r.Trouble.Next = s.trouble.wait, utc(s.trouble.next)
}

func utc(t time.Time) time.Time { return t.UTC().Round(0) }
