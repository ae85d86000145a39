package rig

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Marks that stand in every name, address and courier's name of the rig's
// parcels, and nowhere else: a log that holds one holds personal data. Each is long
// enough to be met by no chance in megabytes of what is encrypted.
const (
	nameMark    = "王鑫"
	addressMark = "幸福里"
	courierMark = "陈骉"
)

// Parcel is a waybill with what the centre must know of it.
type Parcel struct {
	ID         string
	CreateTime int64
	Sender     Party
	Receiver   Party
	Bound      bool // the receiver's phone, in WeChat
	WithScan   bool // its data comes with the first scan, not by import
}

// Party is a sender or receiver in pathnotify's field names.
type Party struct {
	Name     string `json:"name"`
	Phone    string `json:"phone"`
	Province string `json:"province"`
	City     string `json:"city"`
	Area     string `json:"area"`
	Address  string `json:"address"`
}

// waybillData is what both the import and a scan's `waybill` carry.
type waybillData struct {
	WaybillID  string `json:"waybill_id,omitempty"`
	CreateTime int64  `json:"create_time"`
	Sender     Party  `json:"sender"`
	Receiver   Party  `json:"receiver"`
}

// Scan is one scan event as a scanner publishes it.
type Scan struct {
	Parcel  *Parcel
	Node    int // its place among the parcel's scans, from 0
	EventID string
	Action  int
	Time    int64
	Message string
	Device  string
}

// key identifies the scan in the ledger and in `scanrelay events`.
type key struct{ Waybill, Event string }

// key returns the scan's identity.
func (s Scan) key() key { return key{s.Parcel.ID, s.EventID} }

// Payload returns the JSON that scanrelay takes without a mapping.
func (s Scan) Payload() []byte {
	m := map[string]any{
		"waybill_id": s.Parcel.ID, "event_id": s.EventID, "action_type": s.Action,
		"action_time": s.Time, "action_msg": s.Message, "device_id": s.Device,
		"delivery_courier_name": courierMark, "delivery_courier_phone": "13900001111",
	}
	if s.Parcel.WithScan && s.Node == 0 {
		m["waybill"] = waybillData{CreateTime: s.Parcel.CreateTime, Sender: s.Parcel.Sender, Receiver: s.Parcel.Receiver}
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err) // strings and numbers always marshal
	}
	return b
}

// Traffic makes n parcels: one in ten has a receiver who is not bound in
// WeChat. chance decides numbers and names, prefix keeps two makes apart.
func Traffic(chance *rand.Rand, prefix string, n int) []*Parcel {
	parcels := make([]*Parcel, n)
	created := time.Now().Add(-6 * time.Hour).Unix()
	for i := range parcels {
		parcels[i] = &Parcel{
			ID:         fmt.Sprintf("%s%013d", prefix, i),
			CreateTime: created + int64(i%3600),
			Sender:     person(chance, "1370", i),
			Receiver:   person(chance, "1380", i),
			Bound:      i%10 != 9,
		}
	}
	return parcels
}

func person(chance *rand.Rand, network string, i int) Party {
	given := []rune("伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平")
	return Party{
		Name:  nameMark + string(given[chance.IntN(len(given))]),
		Phone: fmt.Sprintf("%s%07d", network, i),
		// The province alone is no secret and stands in every parcel.
		Province: "浙江省", City: "杭州市", Area: "余杭区",
		Address: fmt.Sprintf("%s%d号", addressMark, chance.IntN(900)+1),
	}
}

// course is what happens to a parcel, scan by scan.
var course = []struct {
	action  int
	message string
}{
	{100001, "【余杭网点】已收件"},
	{200001, "快件到达 【杭州转运中心】"},
	{200001, "【杭州转运中心】已发出"},
	{300002, "派件中,派件人:" + courierMark + ",电话13900001111"},
	{300003, "已签收"},
}

// together is how many parcels travel in one truck: each place scans them all
// before the next place does.
const together = 50

// Scans makes the scans of all parcels in the order in which they happen, so
// that many waybills are under way at once and each one's nodes come in quick
// succession. per is how many each parcel has.
func Scans(parcels []*Parcel, per int, device string) []Scan {
	var scans []Scan
	first := time.Now().Add(-time.Duration(per) * time.Second).Unix()
	for truck := range slices.Chunk(parcels, together) {
		for node := range per {
			for _, p := range truck {
				step := course[min(node, len(course)-1)]
				scans = append(scans, Scan{
					Parcel: p, Node: node, EventID: fmt.Sprintf("%s-%d", device, node),
					Action: step.action, Time: first + int64(node), Message: step.message, Device: device,
				})
			}
		}
	}
	return scans
}
