package configs

// Source maps one kind of device's messages to scan events (interfaces.md,
// Intake).
type Source struct {
	Topic       string                       `yaml:"topic"`
	QoS         int                          `yaml:"qos"`
	Decoder     string                       `yaml:"decoder"`
	Fields      map[string]string            `yaml:"fields"`
	Split       string                       `yaml:"split"`
	Values      map[string]map[string]string `yaml:"values"`
	Base64      []string                     `yaml:"base64"`
	Pattern     string                       `yaml:"pattern"`
	Ignore      []string                     `yaml:"ignore"`
	Columns     []string                     `yaml:"columns"`
	TimeFormats []string                     `yaml:"time_formats"`
	Timezone    string                       `yaml:"timezone"`
	Encoding    string                       `yaml:"encoding"`
	Separator   string                       `yaml:"separator"`
}

// DefaultTimezone is the zone of device times that have none.
const DefaultTimezone = "Asia/Shanghai"

func (s *Source) setDefaults() {
	s.QoS, s.Decoder, s.Timezone, s.Encoding = 1, "json", DefaultTimezone, "utf-8"
}

// Station supplies what the scanner can't know.
type Station struct {
	Name                 string `yaml:"name"`
	ActionType           int    `yaml:"action_type"`
	ActionMsg            string `yaml:"action_msg"`
	PickupCourierName    string `yaml:"pickup_courier_name"`
	PickupCourierPhone   string `yaml:"pickup_courier_phone"`
	DeliveryCourierName  string `yaml:"delivery_courier_name"`
	DeliveryCourierPhone string `yaml:"delivery_courier_phone"`
}

// Decoders lists what a source's decoder may be.
func Decoders() []string { return []string{"json", "text", "csv", "sparkplug"} }

// Encodings lists what a source's encoding may be.
func Encodings() []string { return []string{"utf-8", "gbk"} }

// Fields lists the names that a source's fields may have: the canonical ones
// and station.
func Fields() []string {
	return []string{
		"waybill_id", "action_type", "action_time", "action_msg", "device_id", "event_id",
		"pickup_courier_name", "pickup_courier_phone", "delivery_courier_name", "delivery_courier_phone",
		"waybill", "station",
	}
}
