package mapping

// Source maps one kind of device's messages to scan events, as it stands in the
// configuration; README.md of agent/intake explains each key. What is empty has
// its default, but for QoS.
type Source struct {
	Topic       string                       `yaml:"topic"`
	QoS         int                          `yaml:"qos"`
	Decoder     string                       `yaml:"decoder"`
	Fields      map[string]string            `yaml:"fields"`
	Split       string                       `yaml:"split"`
	Values      map[string]map[string]string `yaml:"values"`
	Base64      []string                     `yaml:"base64"`
	Hex         []string                     `yaml:"hex"`
	Pattern     string                       `yaml:"pattern"`
	Ignore      []string                     `yaml:"ignore"`
	Columns     []string                     `yaml:"columns"`
	TimeFormats []string                     `yaml:"time_formats"`
	Timezone    string                       `yaml:"timezone"`
	Encoding    string                       `yaml:"encoding"`
	Separator   string                       `yaml:"separator"`
	OnChange    bool                         `yaml:"on_change"`
	AIM         bool                         `yaml:"aim"`
}

// Station supplies what a scanner can't know.
type Station struct {
	Name                 string `yaml:"name"`
	ActionType           int    `yaml:"action_type"` // 0: none
	ActionMsg            string `yaml:"action_msg"`  // a template
	PickupCourierName    string `yaml:"pickup_courier_name"`
	PickupCourierPhone   string `yaml:"pickup_courier_phone"`
	DeliveryCourierName  string `yaml:"delivery_courier_name"`
	DeliveryCourierPhone string `yaml:"delivery_courier_phone"`
}

// What a source and a waybill number are unless configured.
const (
	DefaultWaybillPattern = "^[A-Za-z0-9-]{6,35}$"
	DefaultTimezone       = "Asia/Shanghai" // of device times that have no zone
)

// SetDefaults gives a source what it has unless it is configured.
func (s *Source) SetDefaults() {
	s.QoS, s.Decoder, s.Timezone, s.Encoding = 1, "json", DefaultTimezone, "utf-8"
}

// DefaultSources is what takes scans where no source is configured.
func DefaultSources() []Source {
	s := Source{Topic: "scans/#"}
	s.SetDefaults()
	return []Source{s}
}
