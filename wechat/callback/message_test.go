package callback

import (
	"errors"
	"maps"
	"strings"
	"testing"
)

func nested(open, close string, n int) string {
	return strings.Repeat(open, n) + strings.Repeat(close, n)
}

func TestDecode(t *testing.T) {
	query := message{
		"ToUserName": "gh_1", "FromUserName": "o1", "MsgType": "event", "Event": "waybill_notify_query",
		"WaybillId": "YT1", "SenderPhone": "1", "ReceiverPhone": "2",
	}
	id := message{"WaybillId": "YT1"}
	for _, k := range []struct {
		name, body string
		want       message
	}{
		{"JSON", `{"ToUserName":"gh_1","FromUserName":"o1","CreateTime":1714037059,"MsgType":"event","Event":"waybill_notify_query","WaybillId":"YT1","SenderPhone":"1","ReceiverPhone":"2"}`, query},
		{"JSON with space around", "\r\n\t {\"WaybillId\" : \"YT1\" }\n", id},
		{"JSON number keeps its digits", `{"WaybillId":12345678901234567890123}`, message{"WaybillId": "12345678901234567890123"}},
		{"JSON null", `{"WaybillId":"YT1","Event":null}`, message{"WaybillId": "YT1", "Event": ""}},
		{"JSON escapes", `{"WaybillId":"Y\u00541"}`, id},
		{"JSON unknown fields of any kind", `{"a":1,"b":{"WaybillId":"no"},"c":[{"WaybillId":"no"},[]],"d":null,"e":true,"WaybillId":"YT1"}`, id},
		{"JSON unknown field twice", `{"a":1,"a":2,"WaybillId":"YT1"}`, id},
		{"JSON names in another case are others", `{"waybillid":"no","WAYBILLID":"no","WaybillId":"YT1"}`, id},
		{"JSON nested as deep as it may", `{"a":` + nested("[", "]", maxDepth-1) + `,"WaybillId":"YT1"}`, id},
		{"XML", `<xml><ToUserName><![CDATA[gh_1]]></ToUserName><FromUserName><![CDATA[o1]]></FromUserName><CreateTime>1714037059</CreateTime><MsgType><![CDATA[event]]></MsgType><Event><![CDATA[waybill_notify_query]]></Event><WaybillId><![CDATA[YT1]]></WaybillId><SenderPhone><![CDATA[1]]></SenderPhone><ReceiverPhone><![CDATA[2]]></ReceiverPhone></xml>`, query},
		{"XML with declaration and space", "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<xml>\n <WaybillId>\n YT1\n</WaybillId>\n</xml>\n", id},
		{"XML's five entities", `<xml><WaybillId>&lt;&gt;&amp;&quot;&apos;</WaybillId></xml>`, message{"WaybillId": `<>&"'`}},
		{"XML CDATA beside text", `<xml><WaybillId>Y<![CDATA[T]]>1</WaybillId></xml>`, id},
		{"XML unknown fields nested and repeated", `<xml><a><WaybillId>no</WaybillId></a><a/><WaybillId>YT1</WaybillId></xml>`, id},
		{"XML name in another namespace is another", `<xml><x:WaybillId xmlns:x="y">no</x:WaybillId><WaybillId>YT1</WaybillId></xml>`, id},
		{"XML nested as deep as it may", `<xml>` + nested("<a>", "</a>", maxDepth-1) + `<WaybillId>YT1</WaybillId></xml>`, id},
	} {
		got, f, err := decode([]byte(k.body))
		if err != nil {
			t.Errorf("%s: %v", k.name, err)
			continue
		}
		if want := formatJSON; strings.HasPrefix(k.name, "XML") && f != formatXML || strings.HasPrefix(k.name, "JSON") && f != want {
			t.Errorf("%s: format %s", k.name, f)
		}
		if !maps.Equal(got, k.want) {
			t.Errorf("%s: got %#v", k.name, got)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, k := range []struct{ name, body, want string }{
		{"nothing", "", "empty"},
		{"only space", " \r\n", "empty"},
		{"neither", "hello", "neither JSON nor XML"},
		{"JSON array", `[{"Encrypt":"a"}]`, "neither JSON nor XML"},
		{"not UTF-8", "{\"WaybillId\":\"\xff\"}", "not UTF-8"},

		{"JSON cut off", `{"Encrypt":"a"`, "JSON"},
		{"JSON cut off in a value", `{"Encrypt":"a`, "JSON"},
		{"JSON cut off in a skipped value", `{"x":[1,`, "JSON"},
		{"JSON without a value", `{"Encrypt"}`, "JSON"},
		{"JSON with more after", `{"Encrypt":"a"} {"Encrypt":"b"}`, "something after"},
		{"JSON with a bracket after", `{"Encrypt":"a"}]`, "something after"},
		{"JSON Encrypt twice", `{"Encrypt":"a","Encrypt":"b"}`, "Encrypt comes twice"},
		{"JSON Encrypt twice, null first", `{"Encrypt":null,"Encrypt":"b"}`, "Encrypt comes twice"},
		{"JSON Encrypt twice, one escaped", `{"Encrypt":"a","\u0045ncrypt":"b"}`, "Encrypt comes twice"},
		{"JSON WaybillId twice", `{"WaybillId":"a","WaybillId":"b"}`, "WaybillId comes twice"},
		{"JSON Encrypt an object", `{"Encrypt":{}}`, "Encrypt is no text"},
		{"JSON Encrypt a list", `{"Encrypt":["a"]}`, "Encrypt is no text"},
		{"JSON Event true", `{"Event":true}`, "Event is no text"},
		{"JSON nested too deeply", `{"a":` + nested("[", "]", maxDepth) + `}`, "too deeply"},
		{"JSON nested far too deeply", `{"a":` + strings.Repeat("[", 60000), "too deeply"},
		{"JSON objects nested too deeply", `{"a":` + strings.Repeat(`{"a":`, maxDepth), "too deeply"},

		{"XML DOCTYPE", `<!DOCTYPE xml><xml><Encrypt>a</Encrypt></xml>`, "DOCTYPE"},
		{"XML DOCTYPE after the declaration", `<?xml version="1.0"?><!DOCTYPE xml [<!ENTITY e SYSTEM "file:///etc/passwd">]><xml><Encrypt>&e;</Encrypt></xml>`, "DOCTYPE"},
		{"XML DOCTYPE inside", `<xml><!DOCTYPE x><Encrypt>a</Encrypt></xml>`, "DOCTYPE"},
		{"XML entity declared inside", `<xml><!ENTITY e "x"><Encrypt>&e;</Encrypt></xml>`, "DOCTYPE"},
		{"XML DOCTYPE at the end", `<xml><Encrypt>a</Encrypt></xml><!DOCTYPE x>`, "after the XML"},
		{"XML unknown entity", `<xml><Encrypt>&e;</Encrypt></xml>`, "no XML"},
		{"XML HTML entity", `<xml><Encrypt>&nbsp;</Encrypt></xml>`, "no XML"},
		{"XML comment in a value", `<xml><Encrypt>a<!-- -->b</Encrypt></xml>`, "comment"},
		{"XML processing instruction", `<xml><?php x?></xml>`, "processing instruction"},
		{"XML second declaration", `<?xml version="1.0"?><?xml version="1.0"?><xml/>`, "processing instruction"},
		{"XML of another encoding", `<?xml version="1.0" encoding="GBK"?><xml></xml>`, "no XML"},
		{"XML another root", `<html></html>`, "root"},
		{"XML Encrypt twice", `<xml><Encrypt>a</Encrypt><Encrypt>b</Encrypt></xml>`, "Encrypt comes twice"},
		{"XML Encrypt twice, empty first", `<xml><Encrypt/><Encrypt>b</Encrypt></xml>`, "Encrypt comes twice"},
		{"XML elements in Encrypt", `<xml><Encrypt><a/></Encrypt></xml>`, "Encrypt is no text"},
		{"XML cut off", `<xml><Encrypt>a</Encrypt>`, "no XML"},
		{"XML cut off in a value", `<xml><Encrypt>a`, "no XML"},
		{"XML wrongly nested", `<xml><Encrypt>a</xml></Encrypt>`, "no XML"},
		{"XML text beside elements", `<xml>x<Encrypt>a</Encrypt></xml>`, "text beside"},
		{"XML second root", `<xml></xml><xml></xml>`, "after the XML"},
		{"XML text after", `<xml></xml>x`, "after the XML"},
		{"XML nested too deeply", `<xml>` + nested("<a>", "</a>", maxDepth) + `</xml>`, "too deeply"},
		{"XML nested far too deeply", `<xml>` + strings.Repeat("<a>", 20000), "too deeply"},
		{"XML declaration only", `<?xml version="1.0"?>`, "no XML"},
	} {
		_, _, err := decode([]byte(k.body))
		if !errors.Is(err, errBody) || !strings.Contains(err.Error(), k.want) {
			t.Errorf("%s: %v, want %q", k.name, err, k.want)
		}
	}
}
