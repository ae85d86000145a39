package intake

import (
	"errors"
	"fmt"

	"scanrelay/agent/intake/sparkplug"
	"scanrelay/agent/scan"
)

// DefaultWaybillPattern is what a waybill number must match unless configured.
const DefaultWaybillPattern = "^[A-Za-z0-9-]{6,35}$"

// DefaultTimezone is the zone of device times that have none.
const DefaultTimezone = "Asia/Shanghai"

// DefaultMaxPayload is the largest payload that is decoded, in bytes.
const DefaultMaxPayload = 1 << 20

// maxReads bounds how many reads one message may hold.
const maxReads = 4096

// MapperConfig configures a Mapper.
type MapperConfig struct {
	Depot     scan.DepotID
	DepotName string
	// Sources in file order; the first whose filter matches takes a message.
	// None: one for scans/# with decoder json.
	Sources  []Mapping
	Stations map[string]Station
	// WaybillPattern; "" is DefaultWaybillPattern. WaybillPatternSet: the
	// operator chose it, so that a phone number may be a waybill number.
	WaybillPattern    string
	WaybillPatternSet bool
	MaxPayload        int // bytes; 0: DefaultMaxPayload
	Clock             Clock
	// Births remembers what Sparkplug's births said; nil: until the Mapper is
	// forgotten.
	Births *sparkplug.Births
}

// Mapping maps one kind of device's messages (interfaces.md, Intake). Its
// fields are in the order of configs.Source, so that one converts to the other.
type Mapping struct {
	Topic       string
	QoS         int
	Decoder     string // json (also ""), text, csv, sparkplug
	Fields      map[string]string
	Split       string
	Values      map[string]map[string]string
	Base64      []string
	Pattern     string
	Ignore      []string
	Columns     []string
	TimeFormats []string
	Timezone    string // "": DefaultTimezone
	Encoding    string // utf-8 (also ""), gbk
	Separator   string // text: regular expression between several codes of a line
}

// Station supplies what a scanner can't know. Its fields are in the order of
// configs.Station.
type Station struct {
	Name                 string
	ActionType           int
	ActionMsg            string // text/template
	PickupCourierName    string
	PickupCourierPhone   string
	DeliveryCourierName  string
	DeliveryCourierPhone string
}

// Subscription is a filter that a Source has to subscribe to.
type Subscription struct {
	Filter string
	QoS    byte
}

// ConfigError is one thing wrong with a configuration, with the path of its
// key: sources.0.fields.action_time.
type ConfigError struct {
	Key string
	Err error
}

// Error implements error.
func (e *ConfigError) Error() string { return e.Key + ": " + e.Err.Error() }

// Unwrap returns what is wrong.
func (e *ConfigError) Unwrap() error { return e.Err }

// problems collects all that is wrong, so that one run tells everything.
type problems []error

func (p *problems) add(key, format string, args ...any) {
	*p = append(*p, &ConfigError{key, fmt.Errorf(format, args...)})
}

func (p problems) err() error { return errors.Join(p...) }
