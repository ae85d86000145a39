package fake

import (
	"maps"
	"net/http"
	"time"
)

// Quota bounds one API for the whole appid; 0 is no bound, except PerDay,
// where it is DefaultDayQuota.
type Quota struct {
	PerSecond int `yaml:"per_second" json:"per_second"` // beyond it: HTTP 429 with Retry-After
	PerMinute int `yaml:"per_minute" json:"per_minute"` // beyond it: 45011
	PerDay    int `yaml:"per_day" json:"per_day"`       // beyond it: 45009; Beijing's days
}

// DefaultDayQuota is the day's quota of an API that has none set.
const DefaultDayQuota = 1_000_000

var beijing = time.FixedZone("UTC+8", 8*3600)

// beijingDay returns the beginning of the day in Beijing.
func beijingDay(t time.Time) time.Time {
	y, m, d := t.In(beijing).Date()
	return time.Date(y, m, d, 0, 0, 0, 0, beijing)
}

// window counts what was let through since start.
type window struct {
	start time.Time
	used  int
}

// usage counts in the second, the minute and the day of Beijing that run.
type usage [3]window

const (
	second = iota
	minute
	day
)

// quotaBook counts calls in fixed windows: the second, the minute, the day.
// Its owner's lock guards it.
type quotaBook struct {
	limits map[API]Quota
	used   map[API]*usage
}

func newQuotaBook(limits map[API]Quota) quotaBook {
	b := quotaBook{limits: map[API]Quota{StableToken: {PerMinute: 10_000, PerDay: 500_000}}, used: map[API]*usage{}}
	maps.Copy(b.limits, limits)
	return b
}

func (b *quotaBook) limit(api API) Quota {
	q := b.limits[api]
	if q.PerDay == 0 {
		q.PerDay = DefaultDayQuota
	}
	return q
}

// at returns the API's windows as they stand at now.
func (b *quotaBook) at(api API, now time.Time) *usage {
	u := b.used[api]
	if u == nil {
		u = &usage{}
		b.used[api] = u
	}
	for i, start := range [3]time.Time{now.Truncate(time.Second), now.Truncate(time.Minute), beijingDay(now)} {
		if !u[i].start.Equal(start) {
			u[i] = window{start: start}
		}
	}
	return u
}

// spend takes one call from the quota; a refused call takes nothing.
func (s *Server) spend(api API) (answer, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.o.Now()
	q, u := s.quotas.limit(api), s.quotas.at(api, now)
	switch {
	case u[day].used >= q.PerDay:
		return refuse(45009, "more than %d calls today", q.PerDay), true
	case q.PerMinute > 0 && u[minute].used >= q.PerMinute:
		return refuse(45011, "more than %d calls this minute", q.PerMinute), true
	case q.PerSecond > 0 && u[second].used >= q.PerSecond:
		return answer{status: http.StatusTooManyRequests, retryAfter: time.Second, body: []byte("Too Many Requests\n"),
			detail: "more calls this second than allowed"}, true
	}
	for i := range u {
		u[i].used++
	}
	return answer{}, false
}

// SetQuota changes the quota of one API from now on.
func (s *Server) SetQuota(api API, q Quota) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quotas.limits[api] = q
}

func (s *Server) quotaGet(body []byte) answer {
	o, ok := readObject(body)
	path := o.text("cgi_path")
	if !ok || o.wrong() != "" {
		return refuse(47001, "the body is no object with cgi_path")
	}
	api, known := paths[path]
	if !known {
		return refuse(76021, "cgi_path %q is none", path)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	limit, used := s.quotas.limit(api).PerDay, s.quotas.at(api, s.o.Now())[day].used
	quota := map[string]any{"daily_limit": limit, "used": used, "remain": max(0, limit-used)}
	return answer{fields: map[string]any{"quota": quota}}
}
