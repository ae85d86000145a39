package fleet

import "scanrelay/uplink/syncapi/health"

// Word is what an alarm says to people: what is wrong, and what to do.
type Word struct{ What, Do string }

// Words are those of each kind, by language.
var Words = map[string]map[string]Word{
	"en": {
		Away:                      {"no sync for half a minute: the gateway, its power or its line is down", "scans are kept there; look at power and line, then at scanrelay status on the gateway"},
		NeverHeard:                {"not heard of since this centre started", "install and enrol the gateway, or look at its line"},
		Cloned:                    {"two machines run with this depot's identity, one from a copy of the card; the one that had been replaced is refused", "give the copy a depot and an empty data_dir of its own, then scanrelay depot reset"},
		KeyUnknown:                {"its gateway got another key after the backup that was put back, which is not known here: it is refused", "scanrelay depot reset, then scanrelay enrol with that token on the gateway"},
		Unreadable:                {"its registration cannot be read: it is let in by nothing", "put its document back from a backup of the database, or scanrelay depot reset, then scanrelay enrol with that token on the gateway"},
		Behind:                    {"its oldest event waits for more than ten minutes", "look at its other alarms, at the line, and at the rate of the fleet"},
		Gaps:                      {"numbers that never came: the gateway lost what it had sent, or its store was replaced", "look at its store: scanrelay store check"},
		health.AlarmMQTTDown:      {"its MQTT broker cannot be reached, or does not listen: no scans come in", "scanrelay status and the log on the gateway name the reason"},
		health.AlarmStoreFull:     {"its store is full: scans are not acknowledged", "look why nothing is sent; give it more room by store.max_size or a larger card"},
		health.AlarmClockUnknown:  {"nothing confirms its clock: nothing is pushed", "give the gateway a time server, or look at the centre's own clock"},
		health.AlarmWeChatBlocked: {"WeChat refuses its calls, or cannot be reached from there", "the state of WeChat above and the gateway's status name the reason"},
		health.AlarmStoreDamaged:  {"a start could not read all of its store", "scanrelay store check names what is lost; replace the card"},
		health.AlarmDeadLetters:   {"dead letters take over 15 % of its store", "scanrelay deadletter list, then retry or discard them"},
		health.AlarmClientsHeld:   {"scanners have their share of the room and are held back", "look why nothing is sent, or what that scanner sends"},
	},
	"zh": {
		Away:                      {"半分钟没有同步:网关断电、断网或停机", "扫描数据保存在网关上;先查电源和网络,再在网关上看 scanrelay status"},
		NeverHeard:                {"本中心启动以来没有收到它的消息", "安装并登记网关,或检查网络"},
		Cloned:                    {"两台机器在用这个网点的身份(其中一台是拷卡),先前的被拒绝", "给拷贝的那台另建网点并清空它的 data_dir,然后 scanrelay depot reset"},
		KeyUnknown:                {"网关在恢复所用的备份之后换过密钥,本中心不认识新密钥:它被拒绝", "scanrelay depot reset,再在网关上用该令牌 scanrelay enrol"},
		Unreadable:                {"它的登记记录读不出来:任何凭证都不放行", "从数据库备份恢复该记录,或 scanrelay depot reset,再在网关上用该令牌 scanrelay enrol"},
		Behind:                    {"最早的事件已等待十分钟以上", "看它的其他告警、网络和全网速率"},
		Gaps:                      {"有从未到达的序号:网关丢失了已发的数据,或存储被更换", "检查它的存储:scanrelay store check"},
		health.AlarmMQTTDown:      {"MQTT 服务连不上或没有监听:收不到扫描", "在网关上看 scanrelay status 和日志里的原因"},
		health.AlarmStoreFull:     {"存储已满:扫描不再确认", "查明为什么发不出去;加大 store.max_size 或换更大的卡"},
		health.AlarmClockUnknown:  {"时钟没有得到确认:暂不推送", "给网关配时间服务器,或检查中心自己的时钟"},
		health.AlarmWeChatBlocked: {"微信拒绝它的调用,或从那里无法访问", "看上面的微信状态和网关的 status"},
		health.AlarmStoreDamaged:  {"有一次启动没能读出全部存储", "scanrelay store check 会列出丢失的内容;请更换存储卡"},
		health.AlarmDeadLetters:   {"死信占用存储超过 15 %", "用 scanrelay deadletter list 查看,然后重试或丢弃"},
		health.AlarmClientsHeld:   {"有扫描设备用完了它的存储份额,被暂缓", "查明为什么发不出去,或该设备发了什么"},
	},
}

// WordOf is what there is to say of a kind in a language; of one that only a later
// version knows, its name.
func WordOf(lang, kind string) Word {
	if w, ok := Words[lang][kind]; ok {
		return w
	}
	return Word{What: kind}
}
