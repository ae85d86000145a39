package wechat_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"scanrelay/wechat"
)

// documented is what WeChat's documents say, row by row.
var documented = map[wechat.Class][]int{
	wechat.Success:   {0},
	wechat.BadToken:  {40001, 40014, 42001, 42007, 41001},
	wechat.Transient: {-1, 932001},
	wechat.Mismatch:  {932002, 932003},
	wechat.Throttled: {45009, 45011},
	wechat.Permanent: {40097, 44002, 47001, 43002, 43003},
	wechat.Blocked: {
		40013, 40125, 41002, 41004, 40243, 40164, 45035, 61004, 89503, 89504, 89505, 89506, 89507,
		40230, 40231, 40232, 40233, 40234, 40235, 48001, 48004, 50001, 50002, 50004, 50007, 61024, 150004,
	},
	wechat.Unknown: {1, -2, 40002, 40229, 40236, 99999, 932000, 932004},
}

func TestClassOfEveryRow(t *testing.T) {
	rows := 0
	for class, list := range documented {
		for _, code := range list {
			if got := wechat.ClassOf(code); got != class {
				t.Errorf("ClassOf(%d) = %v, want %v", code, got, class)
			}
			if known := wechat.Meaning(code) != ""; known != (class != wechat.Unknown) {
				t.Errorf("Meaning(%d) = %q", code, wechat.Meaning(code))
			}
			if class != wechat.Unknown {
				rows++
			}
		}
	}
	if rows != known() {
		t.Errorf("the table has %d rows, WeChat documents %d", known(), rows)
	}
}

func TestErrorClass(t *testing.T) {
	for _, k := range []struct {
		name string
		err  wechat.Error
		want wechat.Class
	}{
		{"errcode", wechat.Error{API: wechat.APIPathNotify, Status: 200, Code: 932002}, wechat.Mismatch},
		{"bad token", wechat.Error{API: wechat.APIPathNotify, Status: 200, Code: 40001}, wechat.BadToken},
		{"bad token where none was sent", wechat.Error{API: wechat.APIStableToken, Status: 200, Code: 40001}, wechat.Blocked},
		{"another code of stable_token", wechat.Error{API: wechat.APIStableToken, Status: 200, Code: 40164}, wechat.Blocked},
		{"a code of stable_token that nobody knows", wechat.Error{API: wechat.APIStableToken, Status: 200, Code: 12345}, wechat.Blocked},
		{"stable_token throttled", wechat.Error{API: wechat.APIStableToken, Status: 200, Code: 45011}, wechat.Throttled},
		{"429", wechat.Error{Status: 429}, wechat.Throttled},
		{"500", wechat.Error{Status: 500}, wechat.Transient},
		{"502", wechat.Error{Status: 502}, wechat.Transient},
		{"404", wechat.Error{Status: 404}, wechat.Transient},
		{"403 of a proxy", wechat.Error{Status: 403}, wechat.Transient},
		{"redirect", wechat.Error{Status: 302}, wechat.Transient},
		{"no JSON", wechat.Error{Status: 200, Err: errors.New("answer is no JSON object")}, wechat.Transient},
		{"no answer", wechat.Error{Err: context.DeadlineExceeded}, wechat.Transient},
		{"invalid", wechat.Error{Err: fmt.Errorf("%w: x", wechat.ErrInvalid)}, wechat.Permanent},
		{"no token", wechat.Error{Err: wechat.ErrNoToken}, wechat.BadToken},
	} {
		if got := k.err.Class(); got != k.want {
			t.Errorf("%s: %v, want %v", k.name, got, k.want)
		}
	}
}

func TestClassNames(t *testing.T) {
	for class, want := range map[wechat.Class]string{
		wechat.Success: "success", wechat.BadToken: "token", wechat.Transient: "transient", wechat.Mismatch: "mismatch", wechat.Throttled: "throttled",
		wechat.Permanent: "permanent", wechat.Blocked: "blocked", wechat.Unknown: "unknown", wechat.Unknown + 1: "class 8",
	} {
		if got := class.String(); got != want {
			t.Errorf("%d prints %q, want %q", class, got, want)
		}
	}
}

// TestReadmeErrorTable: the table that people read is the one that runs.
func TestReadmeErrorTable(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for _, m := range regexp.MustCompile(`(?m)^\| (-?[0-9][0-9, ]*) \| ([a-z]+) \|`).FindAllStringSubmatch(string(readme), -1) {
		for _, number := range strings.Split(m[1], ", ") {
			code, err := strconv.Atoi(number)
			if got := wechat.ClassOf(code).String(); err != nil || got != m[2] {
				t.Errorf("README.md says that %s is %s, the code %s (%v)", number, m[2], got, err)
			}
			rows++
		}
	}
	if rows != known() {
		t.Errorf("README.md explains %d errcodes, the code knows %d", rows, known())
	}
}

// known counts the errcodes in the table.
func known() (n int) {
	for code := -1000; code < 1_000_000; code++ {
		if wechat.Meaning(code) != "" {
			n++
		}
	}
	return n
}
