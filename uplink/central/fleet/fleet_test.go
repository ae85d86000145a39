package fleet_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
	"scanrelay/uplink/central/fleet"
	"scanrelay/uplink/central/presence"
	"scanrelay/uplink/syncapi/health"
)

var now = time.Unix(1_800_000_000, 0)

func TestJudge(t *testing.T) {
	healthy := presence.Member{Last: now, Health: &health.Report{}}
	with := func(change func(m *presence.Member)) presence.Member {
		m := healthy
		change(&m)
		return m
	}
	for what, row := range map[string]struct {
		depot  fleet.Depot
		others []fleet.Alarm
		state  fleet.State
		kinds  []string
	}{
		"sound":        {fleet.Depot{Member: healthy}, nil, fleet.OK, nil},
		"says little":  {fleet.Depot{Member: presence.Member{Last: now}}, nil, fleet.OK, nil},
		"never heard":  {fleet.Depot{Member: presence.Member{Away: true}}, nil, fleet.Attention, []string{fleet.NeverHeard}},
		"away":         {fleet.Depot{Member: with(func(m *presence.Member) { m.Away = true })}, nil, fleet.Fault, []string{fleet.Away}},
		"refused":      {fleet.Depot{Member: with(func(m *presence.Member) { m.Refused = now.Add(-31 * time.Second) })}, nil, fleet.Fault, []string{fleet.Refused}},
		"refused once": {fleet.Depot{Member: with(func(m *presence.Member) { m.Refused = now.Add(-30 * time.Second) })}, nil, fleet.OK, nil},
		"revoked":      {fleet.Depot{Identity: "revoked", Member: presence.Member{Last: now, Away: true}}, []fleet.Alarm{{Kind: fleet.Cloned}}, fleet.OK, nil},
		"cloned":       {fleet.Depot{Member: healthy}, []fleet.Alarm{{Kind: fleet.Cloned}}, fleet.Fault, []string{fleet.Cloned}},
		"gaps":         {fleet.Depot{Member: healthy, Depot: snapshot.Depot{Gaps: make([]snapshot.Gap, 2)}}, nil, fleet.Attention, []string{fleet.Gaps}},
		"ten minutes": {fleet.Depot{Member: with(func(m *presence.Member) {
			m.Health = &health.Report{Pending: health.Pending{OldestSeconds: 600}}
		})}, nil, fleet.OK, nil},
		"behind": {fleet.Depot{Member: with(func(m *presence.Member) {
			m.Health = &health.Report{Pending: health.Pending{OldestSeconds: 601}}
		})}, nil, fleet.Attention, []string{fleet.Behind}},
		"of a later version": {fleet.Depot{Member: with(func(m *presence.Member) { m.Alarms = []presence.Alarm{{Kind: "too_hot"}} })}, nil, fleet.Attention, []string{"too_hot"}},
		"the gravest first": {fleet.Depot{Member: with(func(m *presence.Member) {
			m.Alarms = []presence.Alarm{{Kind: health.AlarmDeadLetters}, {Kind: health.AlarmStoreFull}, {Kind: health.AlarmMQTTDown}}
		})}, nil, fleet.Fault, []string{health.AlarmMQTTDown, health.AlarmStoreFull, health.AlarmDeadLetters}},
	} {
		d := row.depot
		d.Judge(row.others...)
		var kinds []string
		for _, a := range d.Wrong {
			kinds = append(kinds, a.Kind)
		}
		if d.State != row.state || !slices.Equal(kinds, row.kinds) {
			t.Errorf("%s: %s, %v; want %s, %v", what, d.State, kinds, row.state, row.kinds)
		}
	}
}

// TestWords: each kind has words in each language.
func TestWords(t *testing.T) {
	for _, all := range []map[string]map[string]health.Word{fleet.Words, health.Words} {
		for lang := range all {
			for _, words := range all {
				for kind := range words {
					if w := fleet.WordOf(lang, kind); w.What == "" || w.Do == "" || w.What == kind {
						t.Errorf("%s has no words for %q", lang, kind)
					}
				}
			}
		}
	}
	if w := fleet.WordOf("en", "too_hot"); w.What != "too_hot" {
		t.Errorf("a kind nobody knows: %+v", w)
	}
}

// carrier is as many depots as a carrier has.
func carrier() []fleet.Depot {
	all := make([]fleet.Depot, 31_000)
	for i := range all {
		d := &all[i]
		d.ID, d.Name, d.Site = scan.DepotID(fmt.Sprintf("hz-%05d", i)), fmt.Sprint("Depot ", i), fmt.Sprint("site-", i%1000)
		d.Labels = map[string]string{"region": fmt.Sprint("r", i%30)}
		d.Member = presence.Member{Last: now, Version: fmt.Sprint("0.1.", i%3), Away: i%1000 == 7, Health: &health.Report{
			Pending: health.Pending{ToPush: uint64(i % 50), OldestSeconds: int64(i % 700)}, Outcome: health.Outcome{Dead: uint64(i % 2)},
		}}
		d.Judge()
	}
	return all
}

func TestSelectOfACarrier(t *testing.T) {
	all := carrier()
	for _, row := range []struct {
		filter fleet.Filter
		total  int
		first  string
	}{
		{fleet.Filter{}, 31_000, ""},
		{fleet.Filter{State: fleet.Fault, Sort: "id"}, 31, "hz-00007"},
		{fleet.Filter{Text: "HZ-0012", Sort: "id"}, 10, "hz-00120"},
		{fleet.Filter{Text: "depot 30999"}, 1, "hz-30999"},
		{fleet.Filter{Site: "site-5", Version: "0.1.2", Sort: "id"}, 11, "hz-00005"},
		{fleet.Filter{Label: "region=r29", Sort: "id"}, 1033, "hz-00029"},
		{fleet.Filter{Label: "region"}, 0, ""},
		{fleet.Filter{Sort: "oldest"}, 31_000, "hz-00699"},
		{fleet.Filter{Sort: "waiting"}, 31_000, "hz-00049"},
		{fleet.Filter{Sort: "dead"}, 31_000, "hz-00001"},
		{fleet.Filter{Sort: "id", Page: 1 << 30}, 31_000, "hz-30900"},
	} {
		page, total, number := row.filter.Select(all)
		if total != row.total || len(page) > fleet.PerPage || total > 0 && len(page) == 0 {
			t.Errorf("%+v: %d of %d", row.filter, len(page), total)
		} else if row.first != "" && string(page[0].ID) != row.first {
			t.Errorf("%+v: the first is %s, want %s", row.filter, page[0].ID, row.first)
		}
		if row.filter.Page > 1 && number != 310 {
			t.Errorf("page %d", number)
		}
	}
	if page, _, _ := (fleet.Filter{}).Select(all); page[0].State != fleet.Fault || page[40].State != fleet.Attention {
		t.Errorf("the worst are not first: %s, %s", page[0].State, page[40].State)
	}
	s := fleet.SumUp(all)
	if s.States[fleet.Fault] != 31 || s.Connected != 30_969 || s.Dead != 15_500 {
		t.Errorf("%+v", s)
	}
	if c := fleet.ChoicesOf(all, 300); len(c.Sites) != 300 || len(c.Versions) != 3 || len(c.Labels) != 30 {
		t.Errorf("%d sites, %d versions, %d labels", len(c.Sites), len(c.Versions), len(c.Labels))
	}
}

// FuzzFilter: whatever stands in an address, a page comes of it, and its query leads
// to the same filter.
func FuzzFilter(f *testing.F) {
	f.Add("q=a&state=fault&sort=id&page=3&label=a%3Db")
	f.Add("page=-1&state=x&q=%ff" + strings.Repeat("z", 300))
	all := carrier()[:250]
	f.Fuzz(func(t *testing.T, query string) {
		q, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		filter := fleet.ParseFilter(q)
		_, _, number := filter.Select(all)
		q, err = url.ParseQuery(filter.Query(number))
		if err != nil {
			t.Fatal(err)
		}
		again := fleet.ParseFilter(q)
		filter.Page = number
		if again != filter {
			t.Errorf("%+v became %+v", filter, again)
		}
	})
}

// BenchmarkSelect is what a reader's look at the first page costs.
func BenchmarkSelect(b *testing.B) {
	all := carrier()
	for b.Loop() {
		fleet.SumUp(all)
		fleet.ChoicesOf(all, 300)
		fleet.Filter{}.Select(all)
	}
}
