package page

// texts are the fleet page's words; a test holds the two languages together.
var texts = map[string]map[string]string{
	"en": {
		"title": "scanrelay centre", "other": "中文", "other_lang": "zh", "html_lang": "en",
		"as_of": "as of", "uptime": "up for", "version": "version",
		"wechat": "WeChat", "ok": "ok", "no_token": "no token", "blocked": "blocked", "unreachable": "unreachable",
		"rate": "calls a second, fleet", "quota": "left today,", "of": "of", "waybills": "waybills", "tail": "records not merged yet", "store": "store, MiB",
		"declared": "depots wait for data of", "ready": "data come, not fetched yet", "damage": "Damage",
		"events": "Events since start", "taken": "taken", "no_waybill_data": "taken, no waybill data", "late": "late",
		"duplicate": "duplicate", "refused": "refused", "conflict": "conflict",
		"depots": "Depots", "depot": "depot", "last": "last sync", "have": "have", "epoch": "epoch", "taken_all": "events",
		"backlog": "to push", "share": "share, calls a second", "gaps": "gaps", "here": "here", "away": "away", "state": "state",
		"gap_title": "Numbers that never came", "from": "from", "to": "to", "none": "none",
	},
	"zh": {
		"title": "scanrelay 中心", "other": "English", "other_lang": "en", "html_lang": "zh-CN",
		"as_of": "截至", "uptime": "已运行", "version": "版本",
		"wechat": "微信", "ok": "正常", "no_token": "无令牌", "blocked": "被阻止", "unreachable": "无法访问",
		"rate": "全网每秒调用", "quota": "今日剩余", "of": "共", "waybills": "运单", "tail": "未合并记录", "store": "存储 MiB",
		"declared": "网点等待资料的运单", "ready": "资料已到未取", "damage": "损坏",
		"events": "启动以来的事件", "taken": "已收", "no_waybill_data": "已收,缺运单资料", "late": "迟到",
		"duplicate": "重复", "refused": "拒收", "conflict": "冲突",
		"depots": "网点", "depot": "网点", "last": "最近同步", "have": "已有序号", "epoch": "纪元", "taken_all": "事件",
		"backlog": "待推送", "share": "配额,次/秒", "gaps": "缺口", "here": "在线", "away": "离线", "state": "状态",
		"gap_title": "从未到达的序号", "from": "起", "to": "止", "none": "无",
	},
}
