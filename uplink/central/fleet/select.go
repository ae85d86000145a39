package fleet

import (
	"cmp"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Filter says which depots are looked for, and in which order.
type Filter struct {
	Text    string // in the id, the name or the site; case does not matter
	State   State  // "": any
	Site    string
	Version string
	Label   string // key=value
	Sort    string // one of Sorts; "": the worst first
	Page    int    // from 1
}

// PerPage is how many depots a page has.
const PerPage = 100

// Sorts are the orders that can be asked for.
var Sorts = []string{"state", "id", "last", "oldest", "waiting", "dead", "version"}

// maxText bounds each text of a query.
const maxText = 100

// ParseFilter reads a filter from a query; what makes no sense in it is left out.
func ParseFilter(q url.Values) Filter {
	text := func(key string) string {
		t := strings.TrimSpace(strings.ToValidUTF8(q.Get(key), ""))
		return t[:min(len(t), maxText)]
	}
	f := Filter{Text: text("q"), State: State(text("state")), Site: text("site"), Version: text("version"), Label: text("label"), Sort: text("sort")}
	if !slices.Contains(States, f.State) {
		f.State = ""
	}
	if !slices.Contains(Sorts, f.Sort) {
		f.Sort = Sorts[0]
	}
	f.Page, _ = strconv.Atoi(q.Get("page"))
	f.Page = max(1, f.Page)
	return f
}

// Query is the filter as ParseFilter reads it, for another page of it.
func (f Filter) Query(page int) string {
	q := url.Values{}
	for key, v := range map[string]string{
		"q": f.Text, "state": string(f.State), "site": f.Site, "version": f.Version, "label": f.Label, "sort": f.Sort,
	} {
		if v != "" {
			q.Set(key, v)
		}
	}
	q.Set("page", strconv.Itoa(page))
	return q.Encode()
}

func (f Filter) takes(d *Depot) bool {
	key, value, _ := strings.Cut(f.Label, "=")
	text := strings.ToLower(f.Text)
	has := func(s string) bool { return strings.Contains(strings.ToLower(s), text) }
	return (f.State == "" || d.State == f.State) && (f.Site == "" || d.Site == f.Site) &&
		(f.Version == "" || d.Version == f.Version) && (f.Label == "" || d.Labels[key] == value && value != "") &&
		(has(string(d.ID)) || has(d.Name) || has(d.Site))
}

// Select returns a page of what is looked for, how many there are in all, and the page's
// number, which is the last one's where f asks for one beyond.
func (f Filter) Select(all []Depot) (page []Depot, total, number int) {
	var found []*Depot
	for i := range all {
		if f.takes(&all[i]) {
			found = append(found, &all[i])
		}
	}
	slices.SortFunc(found, func(a, b *Depot) int { return cmp.Or(f.compare(a, b), cmp.Compare(a.ID, b.ID)) })
	number = max(1, min(f.Page, (len(found)+PerPage-1)/PerPage))
	from := (number - 1) * PerPage
	for _, d := range found[from:min(from+PerPage, len(found))] {
		page = append(page, *d)
	}
	return page, len(found), number
}

func (f Filter) compare(a, b *Depot) int {
	switch f.Sort {
	case "id":
		return 0
	case "last":
		return a.Last.Compare(b.Last)
	case "oldest":
		return cmp.Compare(b.oldest(), a.oldest())
	case "waiting":
		return cmp.Compare(b.waiting(), a.waiting())
	case "dead":
		return cmp.Compare(b.dead(), a.dead())
	case "version":
		return cmp.Compare(a.Version, b.Version)
	default:
		return cmp.Or(cmp.Compare(slices.Index(States, a.State), slices.Index(States, b.State)), cmp.Compare(b.oldest(), a.oldest()))
	}
}

func (d *Depot) oldest() int64 {
	if d.Health == nil {
		return -1
	}
	return d.Health.Pending.OldestSeconds
}

func (d *Depot) waiting() uint64 {
	if d.Health == nil {
		return 0
	}
	return d.Health.Pending.Total()
}

func (d *Depot) dead() uint64 {
	if d.Health == nil {
		return 0
	}
	return d.Health.Outcome.Dead
}

// Choices are what filters can name, in order: at most most of each, the most frequent.
type Choices struct{ Sites, Versions, Labels []string }

// ChoicesOf gathers them.
func ChoicesOf(all []Depot, most int) Choices {
	sites, versions, labels := map[string]int{}, map[string]int{}, map[string]int{}
	for i := range all {
		d := &all[i]
		sites[d.Site]++
		versions[d.Version]++
		for k, v := range d.Labels {
			labels[k+"="+v]++
		}
	}
	return Choices{top(sites, most), top(versions, most), top(labels, most)}
}

func top(counts map[string]int, most int) (list []string) {
	delete(counts, "")
	for v := range counts {
		list = append(list, v)
	}
	slices.SortFunc(list, func(a, b string) int { return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b)) })
	list = list[:min(len(list), most)]
	slices.Sort(list)
	return list
}
