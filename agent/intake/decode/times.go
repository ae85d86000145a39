package decode

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Time reads a device's time in any of these forms: one of the extra layouts;
// unix seconds, milliseconds, microseconds or nanoseconds, told apart by size;
// RFC 3339 and its kin (blank or T between date and time, -, / or . in the
// date, a fraction behind . , or :, no seconds, zones as Z, +08, +0800, +08:00,
// loc's own name or none); compact 20060102150405 with or without a fraction;
// RFC 1123 and ANSI C; what Java and .NET print by themselves, .NET's ticks and Windows'
// file times. loc is the zone of times that have none, which ticks are.
// 上午, 下午 and their like, AM and PM may stand before or behind the time.
// A moment at or before 1970-01-01 is no time: it is what devices send that
// never had one.
func Time(s string, layouts []string, loc *time.Location) (time.Time, bool) {
	s = StripText(blanks.Replace(s))
	t, ok := parseTime(s, layouts, loc)
	if bare, half, found := dayPart(s); !ok && found {
		if t, ok = parseTime(bare, layouts, loc); ok {
			t, ok = half.of(t)
		}
	}
	return t, ok && t.Unix() > 0
}

// blanks that ICU and typists write.
var blanks = strings.NewReplacer("\u00a0", " ", "\u202f", " ", "\u3000", " ", "\u2009", " ")

// half is a part of the day, which says what an hour from 1 to 12 means.
type half struct{ from, to int }

var halves = map[string]half{
	"am": {0, 11}, "pm": {12, 23}, "上午": {0, 11}, "下午": {12, 23}, "凌晨": {0, 11}, "清晨": {0, 11}, "早晨": {0, 11}, "早上": {0, 11},
	"中午": {11, 14}, "傍晚": {12, 23}, "晚上": {12, 23}, "午夜": {0, 0},
}

var dayParts = regexp.MustCompile(`(?i)(上午|下午|凌晨|清晨|早晨|早上|中午|傍晚|晚上|午夜)|(?:^|[0-9 ])([ap]\.?m\.?)(?:[0-9 ]|$)`)

// dayPart takes the part of the day out of a time.
func dayPart(s string) (bare string, h half, found bool) {
	at := dayParts.FindStringSubmatchIndex(s)
	if at == nil {
		return s, h, false
	}
	if at = at[2:]; at[0] < 0 {
		at = at[2:]
	}
	word := strings.ToLower(strings.ReplaceAll(s[at[0]:at[1]], ".", ""))
	before, after := strings.TrimSpace(s[:at[0]]), strings.TrimSpace(s[at[1]:])
	return strings.TrimSpace(before + " " + after), halves[word], true
}

// of puts a time into this part of its day; an hour above 12 was meant so. False:
// it cannot lie there.
func (h half) of(t time.Time) (time.Time, bool) {
	hour := t.Hour()
	switch {
	case hour > 12 || hour >= h.from && hour <= h.to:
		return t, true
	case hour == 12 && h.from == 0:
		return t.Add(-12 * time.Hour), true
	case hour+12 >= h.from && hour+12 <= h.to && hour < 12:
		return t.Add(12 * time.Hour), true
	}
	return t, false
}

// wcf is a moment as .NET's older serializers print it; the offset only says where.
var wcf = regexp.MustCompile(`^/Date\((-?[0-9]+)([+-][0-9]{4})?\)/$`)

func parseTime(s string, layouts []string, loc *time.Location) (time.Time, bool) {
	if m := wcf.FindStringSubmatch(s); m != nil {
		return unix(m[1])
	}
	if at := strings.IndexByte(s, '['); at > 0 && s[len(s)-1] == ']' {
		s = s[:at] // Java: 2026-11-24T08:00:00+08:00[Asia/Shanghai]
	}
	if at := strings.Index(s, " ("); at > 0 && s[len(s)-1] == ')' {
		s = s[:at] // JavaScript: … GMT+0800 (中国标准时间)
	}
	for _, layout := range layouts {
		if layout == Excel {
			if t, ok := excel(s, loc); ok {
				return t, true
			}
		} else if t, err := time.ParseInLocation(layout, s, loc); err == nil {
			return t, true
		}
	}
	if t, ok := compact(s, loc); ok {
		return t, true
	}
	if t, ok := ticks(s, loc); ok {
		return t, true
	}
	if t, ok := unix(s); ok {
		return t, true
	}
	if strings.Contains(s, "年") {
		s = strings.TrimSuffix(chinese.Replace(s), ":")
	}
	if t, ok := iso(apart(s), loc); ok {
		return t, true
	}
	for _, layout := range []string{
		time.RFC1123, time.RFC1123Z, time.ANSIC, time.UnixDate, time.RFC850, "Jan 2, 2006 3:04:05 PM",
		"Mon Jan 2 2006 15:04:05 GMT-0700", "2006-01-02 15:04:05.999999999 -0700 MST",
	} {
		if t, err := time.ParseInLocation(layout, s, loc); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

var dateAndTime = regexp.MustCompile(`^(?:([0-9]{4})([0-9]{2})([0-9]{2})|([0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}))[ T]+(?:([0-9]{1,2})([0-9]{2})([0-9]{2})?|([0-9]{1,2}:[0-9:.,]+))$`)

// apart writes a date and a time that came from two places, of which one or both are
// in digits only, as iso has them: 20261123 93000 is 2026-11-23 9:30:00.
func apart(s string) string {
	m := dateAndTime.FindStringSubmatch(s)
	if m == nil {
		return s
	}
	date, at := m[4], m[8]
	if date == "" {
		date = m[1] + "-" + m[2] + "-" + m[3]
	}
	if at == "" {
		if at = m[5] + ":" + m[6]; m[7] != "" {
			at += ":" + m[7]
		}
	}
	return date + " " + at
}

// TimeText is what a value is that stands for a moment without being a text: numbers
// from the year down to nanoseconds, as Java prints local times, or an object that
// says $date or seconds.
func TimeText(n *Node) (string, bool) {
	switch n.Kind {
	case Array:
		return timeOfNumbers(n.kids)
	case Object:
		for _, name := range []string{"$date", "$numberLong", "seconds"} {
			if m, ok := n.Member(name); ok {
				return TimeText(m)
			}
		}
		return "", false
	default:
		return n.Text()
	}
}

func timeOfNumbers(kids []Node) (string, bool) {
	if len(kids) < 5 || len(kids) > 7 {
		return "", false
	}
	v := [7]int{}
	for i := range kids {
		text, _ := kids[i].Text()
		number, err := strconv.Atoi(text)
		if err != nil || kids[i].Kind != Number || number < 0 || number > 999_999_999 {
			return "", false
		}
		v[i] = number
	}
	return fmt.Sprintf("%04d-%02d-%02d %02d:%02d:%02d.%09d", v[0], v[1], v[2], v[3], v[4], v[5], v[6]), true
}

// chinese makes 2026年11月23日 15时30分20秒 what iso reads.
var chinese = strings.NewReplacer("年", "-", "月", "-", "日 ", " ", "日", " ", "时", ":", "分", ":", "秒", "")

// compact reads 20060102150405, 20060102150405123 and 200601021504, which as
// milliseconds or microseconds would lie after 2600 or before 1980, 060102150405,
// which would lie before 1980 too, and 20060102T150405 with or without a zone.
func compact(s string, loc *time.Location) (time.Time, bool) {
	if len(s) < 12 || s[0] != '2' && s[:2] != "19" {
		return time.Time{}, false
	}
	if len(s) == len("20060102150405123") && strings.Trim(s, "0123456789") == "" {
		s = s[:14] + "." + s[14:]
	}
	for _, layout := range []string{
		"20060102150405", "200601021504", "060102150405", "20060102T150405", "20060102 150405", "20060102 15:04:05",
		"20060102T150405Z07:00", "20060102T150405Z0700",
	} {
		if t, err := time.ParseInLocation(layout, s, loc); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// Excel among the layouts of Time stands for days since 1899-12-30, as spreadsheets
// count them; by themselves they could be seconds of a clock that began anew.
const Excel = "excel"

// excel reads a spreadsheet's days, to the second.
func excel(s string, loc *time.Location) (time.Time, bool) {
	days, err := strconv.ParseFloat(s, 64)
	if err != nil || !(days > 1 && days < 1e5) {
		return time.Time{}, false
	}
	after := time.Duration(math.Round(days*86400)) * time.Second
	return wall(time.Date(1899, time.December, 30, 0, 0, 0, 0, time.UTC).Add(after), loc), true
}

// MaybeExcel reports whether a text may be a moment of this century as a spreadsheet
// counts it.
func MaybeExcel(s string) bool {
	t, ok := excel(s, time.UTC)
	return ok && t.Year() >= 2000
}

// ticks reads tenths of microseconds: .NET's since the year 1, which are a wall clock's,
// and Windows' file times since 1601, which are UTC's. Those of this century would be of
// the years 1990 and 1974 as nanoseconds.
func ticks(s string, loc *time.Location) (time.Time, bool) {
	const perSecond = 10_000_000
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 1e17 {
		return time.Time{}, false
	}
	since := func(year int) time.Time {
		return time.Unix(time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC).Unix()+n/perSecond, n%perSecond*100).UTC()
	}
	if t := since(1); t.Year() >= 2000 && t.Year() < 2100 {
		return wall(t, loc), true
	}
	t := since(1601)
	return t, t.Year() >= 2000 && t.Year() < 2100
}

// wall is what a clock of loc shows when one of UTC shows t.
func wall(t time.Time, loc *time.Location) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), loc)
}

// unix reads a number. Each unit covers the years from about 1973 on.
func unix(s string) (time.Time, bool) {
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return unixInt(i), true
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || math.Abs(f) >= 1<<62 || strings.ContainsAny(s, "xX_pPnN") {
		return time.Time{}, false
	}
	if math.Abs(f) < 1e11 {
		sec, frac := math.Modf(f)
		return time.Unix(int64(sec), int64(frac*1e9)), true
	}
	return unixInt(int64(f)), true
}

func unixInt(i int64) time.Time {
	switch a := max(i, -i); {
	case a < 1e11:
		return time.Unix(i, 0)
	case a < 1e14:
		return time.UnixMilli(i)
	case a < 1e17:
		return time.UnixMicro(i)
	default:
		return time.Unix(0, i)
	}
}

// iso reads year, month, day, hour, minute and what may follow.
func iso(s string, loc *time.Location) (time.Time, bool) {
	r := reader{s: s}
	year, sep := r.number(4, 4), r.any("-/.")
	month, sep2 := r.number(1, 2), r.any("-/.")
	day := r.number(1, 2)
	if sep == 0 || sep != sep2 || r.any("Tt _") == 0 {
		return time.Time{}, false
	}
	r.skip(' ')
	hour, colon := r.number(1, 2), r.any(":")
	minute := r.number(2, 2)
	second, nanos := 0, 0
	if r.peek() == ':' {
		r.pos++
		second = r.number(2, 2)
		nanos = r.fraction()
	}
	zone, ok := r.zone(loc)
	if r.bad || colon == 0 || !ok || r.pos != len(s) || hour > 23 || minute > 59 || second > 60 {
		return time.Time{}, false
	}
	date := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	if date.Month() != time.Month(month) || date.Day() != day {
		return time.Time{}, false
	}
	return time.Date(year, time.Month(month), day, hour, minute, second, nanos, zone), true
}

// reader walks over a text; bad is set by the first thing that was not there.
type reader struct {
	s   string
	pos int
	bad bool
}

func (r *reader) peek() byte {
	if r.pos < len(r.s) {
		return r.s[r.pos]
	}
	return 0
}

func (r *reader) skip(c byte) {
	for r.peek() == c {
		r.pos++
	}
}

// any steps over one of the characters and returns it; 0 if none is there.
func (r *reader) any(chars string) byte {
	c := r.peek()
	if c == 0 || strings.IndexByte(chars, c) < 0 {
		return 0
	}
	r.pos++
	return c
}

func (r *reader) number(least, most int) (n int) {
	digits := 0
	for ; digits < most && isDigit(r.peek()); digits++ {
		n = n*10 + int(r.peek()-'0')
		r.pos++
	}
	r.bad = r.bad || digits < least
	return n
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// fraction reads a fraction of a second as nanoseconds; further digits are
// left out.
func (r *reader) fraction() int {
	if r.any(".,:") == 0 {
		return 0
	}
	r.bad = r.bad || !isDigit(r.peek())
	nanos, unit := 0, 100_000_000
	for ; isDigit(r.peek()); r.pos++ {
		nanos += int(r.peek()-'0') * unit
		unit /= 10
	}
	return nanos
}

// zone reads Z, UTC, GMT, an offset, or nothing, which stands for loc as its own
// name does (CST, which is another zone elsewhere).
func (r *reader) zone(loc *time.Location) (*time.Location, bool) {
	r.skip(' ')
	rest := r.s[r.pos:]
	switch strings.ToUpper(rest) {
	case "":
		return loc, true
	case "Z", "UTC", "GMT":
		r.pos = len(r.s)
		return time.UTC, true
	}
	if name, _ := time.Unix(0, 0).In(loc).Zone(); rest == name {
		r.pos = len(r.s)
		return loc, true
	}
	if upper := strings.ToUpper(rest); strings.HasPrefix(upper, "GMT") || strings.HasPrefix(upper, "UTC") {
		r.pos += 3
	}
	sign := r.any("+-")
	hours := r.number(1, 2)
	r.any(":")
	minutes := 0
	if r.pos < len(r.s) {
		minutes = r.number(2, 2)
	}
	if sign == 0 || r.bad || hours > 15 || minutes > 59 {
		return nil, false
	}
	offset := hours*3600 + minutes*60
	if sign == '-' {
		offset = -offset
	}
	return time.FixedZone("", offset), true
}
