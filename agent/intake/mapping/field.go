package mapping

// field is one of the canonical fields of a scan event, or the station.
type field int

const (
	fieldWaybill field = iota
	fieldActionType
	fieldActionTime
	fieldActionMsg
	fieldDevice
	fieldEventID
	fieldPickupName
	fieldPickupPhone
	fieldDeliveryName
	fieldDeliveryPhone
	fieldData
	fieldStation
	numFields
)

var fieldNames = [numFields]string{
	"waybill_id", "action_type", "action_time", "action_msg", "device_id", "event_id",
	"pickup_courier_name", "pickup_courier_phone", "delivery_courier_name", "delivery_courier_phone",
	"waybill", "station",
}

func (f field) String() string { return fieldNames[f] }

func fieldByName(name string) (field, bool) {
	for i, n := range fieldNames {
		if n == name {
			return field(i), true
		}
	}
	return 0, false
}

// private reports whether the field's content is about a person; Explain masks
// it.
func (f field) private() bool {
	return f >= fieldPickupName && f <= fieldData || f == fieldActionMsg
}
