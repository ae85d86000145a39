package exposition

import (
	"bytes"
	"strings"
	"testing"
)

func TestWrite(t *testing.T) {
	table := MustRead("a_seconds histogram How long.\na_total counter How many, by \"kind\".\n\n# a remark\nb gauge Now.\n")
	var out bytes.Buffer
	err := table.Write(&out, []byte("b 7\na_total{k=\"x y\"} 1\nc 3\na_seconds_bucket{le=\"+Inf\"} 2\na_total{k=\"z\"} 2\na_seconds_sum 1\na_seconds_count 2\n"), `v"1`)
	if err != nil {
		t.Fatal(err)
	}
	want := `# HELP a_seconds How long.
# TYPE a_seconds histogram
a_seconds_bucket{le="+Inf"} 2
a_seconds_sum 1
a_seconds_count 2
# HELP a_total How many, by "kind".
# TYPE a_total counter
a_total{k="x y"} 1
a_total{k="z"} 2
# HELP b Now.
# TYPE b gauge
b 7
c 3
# HELP `
	if got := out.String(); !strings.HasPrefix(got, want) {
		t.Errorf("it wrote\n%s\nwant first\n%s", got, want)
	}
	for name := range process {
		if !strings.Contains(out.String(), "\n# TYPE "+name+" ") {
			t.Errorf("%s is not told", name)
		}
	}
	if !strings.Contains(out.String(), `scanrelay_build_info{version="v\"1",`) {
		t.Errorf("the version is not told:\n%s", out.String())
	}
}

func TestBadTables(t *testing.T) {
	for _, text := range []string{"a", "a gauge", "a clock Tells the time.", "a gauge Now.\na gauge Now."} {
		if table, err := Read(text); err == nil {
			t.Errorf("%q is a table: %v", text, table)
		}
	}
}
