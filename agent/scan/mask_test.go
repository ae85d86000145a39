package scan

import "testing"

func TestMasks(t *testing.T) {
	for _, c := range []struct {
		name string
		mask func(string) string
		in   string
		want string
	}{
		{"free text", maskText, "派件中,快递员李四 Li Si,电话13800138000 2件", "***,***** ** **,**138******00 2*"},
		{"a payload", MaskPayload,
			`{"code":"YT12","kind":"派件", "收件人" : "李四","receiver_name":"Li Si","n":2,"tel":13800138000}`,
			`{"code":"YT12","kind":"**", "收件人" : "**","receiver_name":"** **","n":2,"tel":138******00}`},
		{"escapes", MaskPayload, `{"x":"\u674e\u56db"}`, `{"x":"**"}`},
		{"a broken payload", MaskPayload, `{"x":"李四`, `{"x":"**`},
		{"no JSON", MaskPayload, "YT1;李四;13800138000;GOT", "YT1;**;138******00;GOT"},
		{"GBK", MaskPayload, "YT1;\xc0\xee\xcb\xc4;x", "YT1;****;x"},
		{"UTF-16", MaskPayload, "N\x00a\x00", "****"},
		{"a reason", MaskPayload, `element 2: action_type "李四" is none, give /类型`, `element 2: action_type "**" is none, give /**`},
	} {
		if got := c.mask(c.in); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}
