package intake

// Status is what taking messages in is doing, whoever does it. Counters are since
// the start.
type Status struct {
	Connected bool   // subscribed at an external broker, or the embedded one listens
	Problem   string // what is wrong, for people; "" if nothing
	Full      bool   // scans are not taken, or connections refused, for want of room
	Clients   int    // of the embedded broker
	Throttled int    // of them, those that have their share of the room
	Waiting   int64  // bytes that wait for their commit
	// QoS0 messages are at risk: nobody knows whether all of them came. Lost are
	// those of them that there was no room for.
	QoS0, Lost, Redelivered uint64
	Sessions                uint64 // at an external broker
	Forgotten               uint64 // of those, which the broker had forgotten though it should keep them
	Refused                 uint64 // connections to the embedded broker
	Denied                  uint64 // publishes without permission
	Cut                     uint64 // connections closed for want of room or a failed commit
	Broken                  uint64 // connections closed for a packet too large, or no MQTT
	Takeovers               uint64 // connections closed since their client connected anew
	// SparkplugGaps are gaps in sequence numbers.
	SparkplugGaps, RebirthsAsked uint64
}
