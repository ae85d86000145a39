package scan

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"
)

// Every way in which a value gets printed by accident must hide it.
func TestPersonalDataIsMaskedHoweverItIsPrinted(t *testing.T) {
	type holder struct {
		Phone Phone
		Name  Private
		Text  Text
	}
	h := holder{"13812345600", "张三丰", "派件人电话13812345600,请接听"}
	e := Event{
		Waybill: "YT1", ActionMsg: h.Text, Delivery: Courier{Name: h.Name, Phone: h.Phone},
		Data: &Waybill{Receiver: Party{Name: h.Name, Phone: h.Phone, Address: "张三丰路1号"}},
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "phone", h.Phone, "name", h.Name, "text", h.Text, "all", h, "event", e)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "phone", h.Phone, "name", h.Name, "text", h.Text, "all", h, "event", e)
	encoded, err := json.Marshal([]any{h, e})
	if err != nil {
		t.Fatal(err)
	}
	node := PathNode{ActionMsg: h.Text, Delivery: e.Delivery}
	pointers := struct {
		E     *Event
		W     *Waybill
		P     *Party
		C     *Courier
		N     *PathNode
		Phone *Phone
		Name  *Private
		Text  *Text
	}{&e, e.Data, &e.Data.Receiver, &e.Delivery, &node, &h.Phone, &h.Name, &h.Text}
	outputs := map[string]string{"slog": log.String(), "json": string(encoded)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		outputs[verb] = fmt.Sprintf(verb, h) + fmt.Sprintf(verb, e) + fmt.Sprintf(verb, *e.Data) + fmt.Sprintf(verb, h.Phone) + fmt.Sprintf(verb, pointers)
	}
	for how, out := range outputs {
		for _, secret := range []string{"13812345600", "张三丰", "3133383132333435363030", "12345600"} {
			if strings.Contains(out, secret) {
				t.Errorf("%s shows %q: %s", how, secret, out)
			}
		}
	}
}

func TestPhonePrintsAsTheDocumentsShowIt(t *testing.T) {
	for in, want := range map[Phone]string{
		"":              "",
		"1":             "*",
		"123456":        "******",
		"1234567":       "******7",
		"13812345600":   "138******00",
		"+861381234560": "+86********60",
	} {
		if got := in.String(); got != want {
			t.Errorf("Phone(%q) prints %q, want %q", in.Reveal(), got, want)
		}
	}
}

func TestRevealReturnsTheContent(t *testing.T) {
	if Phone("1").Reveal() != "1" || Private("2").Reveal() != "2" || Text("3").Reveal() != "3" {
		t.Error("Reveal changed the content")
	}
}

func TestMaskDigitRunsLeavesShortRuns(t *testing.T) {
	for in, want := range map[string]string{
		"":                        "",
		"楼3-402":                  "楼3-402",
		"取件码 123456":              "取件码 123456",
		"电话13812345600。":          "电话138******00。",
		"1234567 and 13912345678": "******7 and 139******78",
	} {
		if got := MaskDigitRuns(in); got != want {
			t.Errorf("MaskDigitRuns(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzMaskDigitRuns(f *testing.F) {
	f.Add("电话13812345600")
	f.Add("\xff1234567890123456789012345")
	long := regexp.MustCompile(`[0-9]{7,}`)
	f.Fuzz(func(t *testing.T, s string) {
		if got := MaskDigitRuns(s); long.MatchString(got) {
			t.Errorf("%q still shows a long run of digits: %q", s, got)
		}
	})
}
