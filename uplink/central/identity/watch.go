package identity

import (
	"context"
	"time"

	"scanrelay/configs/wait"
	"scanrelay/uplink/central/audit"
)

// A store that several processes share may go back while they run: a backup is put back,
// or a standby takes over that lacks what was written last. What ended since ends again.

// How often a process looks whether that happened, and how often at all that others ended.
const (
	watchEvery = 2 * time.Second
	learnEvery = time.Minute
)

// Watch looks until ctx ends.
func (s *Service) Watch(ctx context.Context) {
	if s.o.Ended == nil {
		return
	}
	for learnt := s.o.Now(); wait.Sleep(ctx, watchEvery); {
		back, err := s.wentBack(ctx)
		if due := s.o.Now().Sub(learnt).Abs() >= learnEvery; err == nil && (back || due) {
			var changed int
			if changed, err = s.endAgain(ctx); err == nil {
				learnt = s.o.Now()
			}
			if changed > 0 {
				s.o.Logger.Error("the store went back while the centre ran: depots and keys that had ended since were let in, and ended again", "depots", changed)
				if err == nil {
					err = s.tellKeyless(ctx)
				}
			}
		}
		if more, due := s.unwatched.Due(s.o.Now()); err != nil && ctx.Err() == nil && due {
			s.o.Logger.Error("look whether what was revoked is so: trying again", "error", err, "failed_since_last_line", more)
		}
	}
}

// wentBack tells that the store lacks what ended last: all that ended before it has.
func (s *Service) wentBack(ctx context.Context) (bool, error) {
	id, w := s.o.Ended.latest()
	if id == "" {
		return false, nil
	}
	r, err := s.Registration(ctx, id)
	if err != nil || r == nil {
		return err == nil && w.revoked(), err
	}
	return s.enforceOne(r, w), nil
}

// begin does so at a start.
func (s *Service) begin(ctx context.Context) error {
	damaged, err := s.o.Ended.load()
	if err != nil {
		return err
	}
	if damaged > 0 {
		s.o.Logger.Error("lines cannot be read of what was revoked: after a power cut nothing is missing, "+
			"else look whether a depot is let in that must not be", "file", EndedName, "lines", damaged)
	}
	_, err = s.endAgain(ctx)
	return err
}

// endAgain ends in the store what has ended, and notes which depots that was.
func (s *Service) endAgain(ctx context.Context) (changed int, err error) {
	ids, err := s.enforce(ctx)
	for _, id := range ids {
		s.note(Actor{Who: "the centre"}, "depot.revoke", id, audit.OK, "the store knew nothing of it: it came back from a backup")
	}
	return len(ids), err
}
