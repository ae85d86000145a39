package main

import (
	"errors"
	"testing"

	"scanrelay/agent/intake"
	"scanrelay/configs"
)

func TestMapperProblemsHaveLines(t *testing.T) {
	cfg, ps := configs.ReadAgent("agent.yaml", []byte("depot: {id: a}\ncentral: {token: x}\nsources:\n  - topic: a\n    fields:\n      waybill_id: /x\n"), nil)
	if len(ps) > 0 {
		t.Fatal(ps)
	}
	err := errors.Join(
		&intake.ConfigError{Key: "sources.0.fields.waybill_id", Err: errors.New("one")},
		errors.Join(&intake.ConfigError{Key: "stations.x.action_msg", Err: errors.New("two\nlines")}), errors.New("three"))
	got := mapperProblems(cfg, err).String()
	want := "agent.yaml:6: sources[0].fields.waybill_id: one\nagent.yaml:1: stations.x.action_msg: two; lines\nagent.yaml:3: sources: three"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
