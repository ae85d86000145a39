package demo

import (
	"fmt"
	"math/rand/v2"

	"scanrelay/uplink/syncapi"
)

// key names one scan event in the demo's books. Within a parcel no two scans
// have the same text.
type key struct {
	waybill string
	action  int
	msg     string
}

// stop is one scan of a parcel to be made.
type stop struct {
	key
	device  string // the device's name in devices.go
	courier syncapi.Party
	// stale makes the handheld send a time of two minutes ago: a scan that it
	// kept while it was out of reach.
	stale bool
	twice bool // the handheld sends it again
}

// parcel is one waybill with its way.
type parcel struct {
	waybill string
	to      string
	data    syncapi.Waybill
	late    bool // the carrier's system sends its data after the first scan
	stops   []stop
}

// place is where people live.
type place struct{ province, city, area, sorter, next string }

var places = []place{
	{"上海市", "上海市", "浦东新区", "RFD40-11", "上海浦东转运中心"},
	{"江苏省", "苏州市", "姑苏区", "RFD40-11", "上海浦东转运中心"},
	{"福建省", "泉州市", "晋江市", "RFD40-13", "广州白云转运中心"},
	{"广东省", "深圳市", "南山区", "RFD40-13", "广州白云转运中心"},
	{"广东省", "广州市", "天河区", "RFD40-13", "广州白云转运中心"},
	{"四川省", "成都市", "武侯区", "RFD40-12", "成都转运中心"},
	{"重庆市", "重庆市", "渝北区", "RFD40-12", "成都转运中心"},
	{"北京市", "北京市", "海淀区", "RFD40-14", "北京顺义转运中心"},
	{"河北省", "石家庄市", "长安区", "RFD40-14", "北京顺义转运中心"},
	{"陕西省", "西安市", "雁塔区", "RFD40-12", "成都转运中心"},
}

var (
	outlets   = []struct{ dock, name, district string }{{"yuhang", "杭州余杭网点", "余杭区"}, {"xihu", "杭州西湖网点", "西湖区"}, {"binjiang", "杭州滨江网点", "滨江区"}}
	gloves    = []string{"PGGW4021", "PGGW4022"}
	handhelds = []string{"pda-03", "pda-07", "pda-12", "pda-15"}
	surnames  = []string{"王", "李", "张", "刘", "陈", "杨", "赵", "黄", "周", "吴"}
	given     = []string{"伟", "芳", "秀英", "敏", "静", "丽", "强", "磊", "洋", "艳", "勇", "杰", "娟", "涛", "明"}
	streets   = []string{"文一西路", "人民路", "中山北路", "建设大道", "解放路", "庄宅北区", "科技园南路"}
)

// parcels makes n parcels, the same ones for the same seed. now is in unix
// seconds.
func makeParcels(n int, seed uint64, now int64) []*parcel {
	r := rand.New(rand.NewPCG(seed, 1))
	list := make([]*parcel, n)
	for i := range list {
		list[i] = makeParcel(i, r, now)
	}
	return list
}

func makeParcel(i int, r *rand.Rand, now int64) *parcel {
	home, outlet := places[r.IntN(len(places))], outlets[r.IntN(len(outlets))]
	p := &parcel{
		waybill: waybillNumber(i, r), to: shortCity(home.city), late: i%16 == 7,
		data: syncapi.Waybill{
			CreateTime: now - 3600 - int64(r.IntN(20000)),
			Sender:     person(r, place{province: "浙江省", city: "杭州市", area: outlet.district}),
			Receiver:   person(r, home),
		},
	}
	add := func(action int, msg, device string) *stop {
		p.stops = append(p.stops, stop{key: key{p.waybill, action, msg}, device: device})
		return &p.stops[len(p.stops)-1]
	}
	add(100001, "【"+outlet.name+"】已收件", outlet.dock)
	add(200001, "快件到达 【杭州转运中心】", gloves[r.IntN(len(gloves))])
	add(200001, "【杭州转运中心】已发出,准备发往【"+home.next+"】", home.sorter)
	pda := handhelds[r.IntN(len(handhelds))]
	courier := person(r, home)
	add(300002, fmt.Sprintf("派件中,派件人:%s,电话%s", courier.Name, courier.Phone), pda).courier = courier
	addEnd(p, i, pda, courier, add)
	return p
}

// addEnd adds how the parcel's way ends: most are signed for, some wait at a
// shop first or are tried twice; some devices send late or twice.
func addEnd(p *parcel, i int, pda string, courier syncapi.Party, add func(int, string, string) *stop) {
	if i%12 == 5 {
		s := add(200001, "【杭州转运中心】安检通过", pda)
		s.stale = true
	}
	switch {
	case i%9 == 4:
		add(300005, "已存放至【菜鸟驿站】,请凭取件码及时领取", pda).courier = courier
		add(300003, "客户凭取件码已取件", pda)
	case i%11 == 6:
		add(300004, "派件不成功:收件人要求改约", pda).courier = courier
		add(300003, "已签收,签收人:本人", pda).courier = courier
	default:
		add(300003, "已签收,签收人:本人", pda).courier = courier
	}
	p.stops[len(p.stops)-1].twice = i%15 == 3
}

// waybillNumber has the index in it: numbers never collide.
func waybillNumber(i int, r *rand.Rand) string {
	prefix := []string{"YT", "JT", "SF"}[r.IntN(3)]
	return fmt.Sprintf("%s%02d%04d%07d", prefix, 60+r.IntN(30), r.IntN(10000), i+1)
}

// person has one of ten thousand numbers that nobody's real list is made of.
func person(r *rand.Rand, at place) syncapi.Party {
	return syncapi.Party{
		Name:  surnames[r.IntN(len(surnames))] + given[r.IntN(len(given))],
		Phone: fmt.Sprintf("1380013%04d", r.IntN(10000)), Province: at.province, City: at.city, Area: at.area,
		Address: fmt.Sprintf("%s%d号", streets[r.IntN(len(streets))], 1+r.IntN(300)),
	}
}

// unbound tells which phones are not bound in the fake WeChat: one in seven.
func unbound(phone string) bool {
	n := 0
	for _, c := range phone {
		n = (n*31 + int(c)) % 1009
	}
	return n%7 == 2
}

func shortCity(city string) string {
	r := []rune(city)
	return string(r[:len(r)-1])
}
