//go:build !gateway

package main

import (
	"encoding/json"
	"strings"
	"testing"

	"scanrelay/uplink/syncapi/directive"
)

// TestCheckRemote: a configuration for gateways is held to what their own file is.
func TestCheckRemote(t *testing.T) {
	for text, want := range map[string]string{
		`{}`: "",
		`{"notify":{"rate":5},"log":{"level":"debug"},"sources":[{"topic":"scans/+","decoder":"json","fields":{"waybill_id":"/no","action_type":"='200001"}}],"stations":{"gate-1":{"name":"一号门","action_type":200001}}}`: "",
		`{"notify":{"rate":-1}}`:                       "notify.rate",
		`{"notify":{"nonsense":1}}`:                    "nonsense",
		`{"log":{"level":"loud"}}`:                     "log.level",
		`{"sources":[{"topic":"#/a"}]}`:                "sources[0]",
		`{"sources":[{"topic":"a","password":"xyz"}]}`: "password",
		`{"sources":5}`:                                "sources",
	} {
		var body directive.Body
		if err := json.Unmarshal([]byte(text), &body); err != nil {
			t.Fatal(err)
		}
		err := checkRemote(body)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
