package agent

import (
	"reflect"
	"testing"
	"time"

	"scanrelay/configs"
)

// fill sets every field of a struct to something that is not its zero value.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i))
			}
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, elem := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key)
		fill(elem)
		v.SetMapIndex(key, elem)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Float64:
		v.SetFloat(3)
	case reflect.Int, reflect.Int64:
		v.SetInt(3)
	}
}

// zeros lists the exported fields that are zero, but for those named.
func zeros(v reflect.Value, but ...string) (names []string) {
	for i := range v.NumField() {
		f, skip := v.Type().Field(i), false
		for _, b := range but {
			skip = skip || b == f.Name
		}
		if f.IsExported() && !skip && v.Field(i).IsZero() {
			names = append(names, f.Name)
		}
	}
	return names
}

// A key that is read and then forgotten on its way to the part is the kind of
// mistake that nobody sees.
func TestNothingIsForgottenOnTheWay(t *testing.T) {
	cfg := &configs.Agent{}
	fill(reflect.ValueOf(cfg).Elem())
	a := &Agent{cfg: cfg}
	broker, err := brokerConfig(a)
	if err != nil {
		t.Logf("the filled configuration is none to start with: %v", err)
	}
	for name, got := range map[string][]string{
		"mapping": zeros(reflect.ValueOf(cfg.Mapping()), "MaxPayload"),
		"source":  zeros(reflect.ValueOf(Brokers(cfg))),
		"broker":  zeros(reflect.ValueOf(broker), "MaxWaiting", "Hold", "HoldFor", "Logger"),
		"store":   zeros(reflect.ValueOf(storeOptions(cfg)), "MachineID", "Logger", "Now", "OnCommit", "Pulse"),
		"notify":  zeros(reflect.ValueOf(notify(cfg.Notify))),
	} {
		if len(got) > 0 {
			t.Errorf("%s: %v got nothing from the configuration", name, got)
		}
	}
	if n := notify(configs.Notify{MaxAge: time.Hour}); n.MaxAge != time.Hour {
		t.Errorf("max_age: %v", n.MaxAge)
	}
}

// However many clients are let in, what else the process opens finds a descriptor.
func TestClientsLeaveDescriptors(t *testing.T) {
	for _, c := range []struct{ max, descriptors, want int }{{1000, 16384, 1000}, {1000, 1024, 512}, {1_000_000, 16384, 8192}, {5, 1, 1}} {
		if got := clientsWithin(c.max, c.descriptors); got != c.want {
			t.Errorf("%d clients with %d descriptors: %d, want %d", c.max, c.descriptors, got, c.want)
		}
	}
}
