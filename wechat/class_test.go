package wechat

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// documented is what WeChat's documents say, row by row.
var documented = map[Class][]int{
	Success:   {0},
	BadToken:  {40001, 40014, 42001, 42007, 41001},
	Transient: {-1, 932001},
	Mismatch:  {932002, 932003},
	Throttled: {45009, 45011},
	Permanent: {40097, 44002, 47001, 43002, 43003},
	Blocked: {
		40013, 40125, 41002, 41004, 40164, 45035, 61004, 89503, 89504, 89505, 89506, 89507,
		40230, 40231, 40232, 40233, 40234, 40235, 48001, 48004, 50002, 61024, 150004,
	},
	Unknown: {1, -2, 40002, 40229, 40236, 99999, 932000, 932004},
}

func TestClassOfEveryRow(t *testing.T) {
	rows := 0
	for class, list := range documented {
		for _, code := range list {
			if got := ClassOf(code); got != class {
				t.Errorf("ClassOf(%d) = %v, want %v", code, got, class)
			}
			if known := Meaning(code) != ""; known != (class != Unknown) {
				t.Errorf("Meaning(%d) = %q", code, Meaning(code))
			}
			if class != Unknown {
				rows++
			}
		}
	}
	if rows != len(codes) {
		t.Errorf("the table has %d rows, WeChat documents %d", len(codes), rows)
	}
}

func TestErrorClass(t *testing.T) {
	for _, k := range []struct {
		name string
		err  Error
		want Class
	}{
		{"errcode", Error{API: APIPathNotify, Status: 200, Code: 932002}, Mismatch},
		{"bad token", Error{API: APIPathNotify, Status: 200, Code: 40001}, BadToken},
		{"bad token where none was sent", Error{API: APIStableToken, Status: 200, Code: 40001}, Blocked},
		{"another code of stable_token", Error{API: APIStableToken, Status: 200, Code: 40164}, Blocked},
		{"stable_token throttled", Error{API: APIStableToken, Status: 200, Code: 45011}, Throttled},
		{"429", Error{Status: 429}, Throttled},
		{"500", Error{Status: 500}, Transient},
		{"502", Error{Status: 502}, Transient},
		{"404", Error{Status: 404}, Transient},
		{"403 of a proxy", Error{Status: 403}, Transient},
		{"redirect", Error{Status: 302}, Transient},
		{"no JSON", Error{Status: 200, Err: errors.New("answer is no JSON object")}, Transient},
		{"no answer", Error{Err: context.DeadlineExceeded}, Transient},
		{"invalid", Error{Err: fmt.Errorf("%w: x", ErrInvalid)}, Permanent},
		{"no token", Error{Err: ErrNoToken}, BadToken},
	} {
		if got := k.err.Class(); got != k.want {
			t.Errorf("%s: %v, want %v", k.name, got, k.want)
		}
	}
}

func TestClassNames(t *testing.T) {
	for class, want := range map[Class]string{
		Success: "success", BadToken: "token", Transient: "transient", Mismatch: "mismatch", Throttled: "throttled",
		Permanent: "permanent", Blocked: "blocked", Unknown: "unknown", Unknown + 1: "class 8",
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
			if got := ClassOf(code).String(); err != nil || got != m[2] {
				t.Errorf("README.md says that %s is %s, the code %s (%v)", number, m[2], got, err)
			}
			rows++
		}
	}
	if rows != len(codes) {
		t.Errorf("README.md explains %d errcodes, the code knows %d", rows, len(codes))
	}
}
