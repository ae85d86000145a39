package main

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// setMinute gives a script a time a minute ago: as SECONDS, as DATE and CLOCK in
// Shanghai, and in a message in BASE64.
func setMinute(e *testscript.Env) {
	at := time.Now().Add(-time.Minute)
	e.Setenv("SECONDS", strconv.FormatInt(at.Unix(), 10))
	there := at.In(time.FixedZone("", 8*3600))
	e.Setenv("DATE", there.Format(time.DateOnly))
	e.Setenv("CLOCK", there.Format(time.TimeOnly))
	e.Setenv("BASE64", base64.StdEncoding.EncodeToString(fmt.Appendf(nil, `{"code":"YT6900634716900","at":%d000}`, at.Unix())))
}

// pack gives a script a message that is packed, and one of Sparkplug whose body is:
// packed.gzip, packed.zlib, sparkplug.gzip and sparkplug.zlib.
func pack(e *testscript.Env) error {
	field := func(number byte, b []byte) []byte {
		return append(binary.AppendUvarint([]byte{number<<3 | 2}, uint64(len(b))), b...)
	}
	metric := func(name, text string) []byte {
		return field(2, slices.Concat(field(1, []byte(name)), []byte{4 << 3, 12}, field(15, []byte(text))))
	}
	inner := append(metric("Scan/Code", "YT6900634716900"), 3<<3, 1)
	for end, algorithm := range map[string]string{"gzip": "GZIP", "zlib": "DEFLATE"} {
		packed := func(plain []byte) []byte {
			var b bytes.Buffer
			w := io.WriteCloser(gzip.NewWriter(&b))
			if end == "zlib" {
				w = zlib.NewWriter(&b)
			}
			_, err := w.Write(plain)
			if err := errors.Join(err, w.Close()); err != nil {
				panic(err) // memory does not fail
			}
			return b.Bytes()
		}
		outer := slices.Concat(metric("algorithm", algorithm), []byte{3 << 3, 1}, field(4, []byte("SPBV1.0_COMPRESSED")), field(5, packed(inner)))
		err := errors.Join(
			os.WriteFile(filepath.Join(e.WorkDir, "packed."+end), packed([]byte(`{"code":"YT6900634716900"}`)), 0o600),
			os.WriteFile(filepath.Join(e.WorkDir, "sparkplug."+end), outer, 0o600))
		if err != nil {
			return err
		}
	}
	return nil
}

// reads CONFIG TOPIC FILE WANT: what the file becomes: numbers, @T where they have that
// time, #device, then how many are rejected and ignored.
func reads(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec("scanrelay", "check", "-c", args[0], "--topic", args[1], "--payload", args[2], "--json")
	ts.Check(err)
	var said struct {
		Reads []struct {
			Outcome string
			Fields  []struct{ Field, Value, From string }
		}
		Rejected, Ignored int
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &said))
	seconds, err := strconv.ParseInt(ts.Getenv("SECONDS"), 10, 64)
	ts.Check(err)
	var got strings.Builder
	for _, r := range said.Reads {
		if r.Outcome != "event" {
			continue
		}
		value := map[string]string{}
		for _, f := range r.Fields {
			value[f.Field] = f.Value
		}
		got.WriteString(value["waybill_id"])
		at, err := time.Parse(time.RFC3339, value["action_time"])
		ts.Check(err)
		if at.Unix() == seconds {
			got.WriteString("@T")
		}
		got.WriteString("#" + value["device_id"] + " ")
	}
	fmt.Fprintf(&got, "| %d rejected %d ignored", said.Rejected, said.Ignored)
	if got.String() != args[3] {
		ts.Fatalf("%s\nwant %s\n%s", got.String(), args[3], ts.ReadFile("stdout"))
	}
}
