package mapping

import "testing"

func BenchmarkMapCanonical(b *testing.B) {
	m := canonical(b)
	msg := []byte(`{"waybill_id":"YT6900634716900","action_type":200001,"action_time":1795456463,"action_msg":"快件到达 【杭州转运中心】","device_id":"gate-3"}`)
	b.ReportAllocs()
	for b.Loop() {
		m.Map("scans/gate-3", msg, Info{})
	}
}
