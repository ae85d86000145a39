package health

// Word is what an alarm says to people: what is wrong, and what to do.
type Word struct{ What, Do string }

// Words are those of the kinds that an agent raises, by language: the same on the gateway
// and at the centre.
var Words = map[string]map[string]Word{
	"en": {
		AlarmMQTTDown:      {"its MQTT broker cannot be reached, or does not listen: no scans come in", "scanrelay status and the log on the gateway name the reason"},
		AlarmStoreFull:     {"its store is full: scans are not acknowledged", "look why nothing is sent; give it more room by store.max_size or a larger card"},
		AlarmClockUnknown:  {"nothing confirms its clock: nothing is pushed", "give the gateway a time server, or look at the centre's own clock"},
		AlarmWeChatBlocked: {"WeChat refuses its calls, or cannot be reached from there", "the state of WeChat above and the gateway's status name the reason"},
		AlarmStoreDamaged:  {"a start could not read all of its store", "scanrelay store check names what is lost; replace the card"},
		AlarmDeadLetters:   {"dead letters take over 15 % of its store", "scanrelay deadletter list, then retry or discard them"},
		AlarmClientsHeld:   {"scanners have their share of the room and are held back", "look why nothing is sent, or what that scanner sends"},
		AlarmQuiet:         {"no scan came in for longer than is usual at this hour", "look whether its scanners have power and network; scanrelay listen shows what arrives"},
	},
	"zh": {
		AlarmMQTTDown:      {"MQTT 服务连不上或没有监听:收不到扫描", "在网关上看 scanrelay status 和日志里的原因"},
		AlarmStoreFull:     {"存储已满:扫描不再确认", "查明为什么发不出去;加大 store.max_size 或换更大的卡"},
		AlarmClockUnknown:  {"时钟没有得到确认:暂不推送", "给网关配时间服务器,或检查中心自己的时钟"},
		AlarmWeChatBlocked: {"微信拒绝它的调用,或从那里无法访问", "看上面的微信状态和网关的 status"},
		AlarmStoreDamaged:  {"有一次启动没能读出全部存储", "scanrelay store check 会列出丢失的内容;请更换存储卡"},
		AlarmDeadLetters:   {"死信占用存储超过 15 %", "用 scanrelay deadletter list 查看,然后重试或丢弃"},
		AlarmClientsHeld:   {"有扫描设备用完了它的存储份额,被暂缓", "查明为什么发不出去,或该设备发了什么"},
		AlarmQuiet:         {"在平时有扫描的时段,比平时更久没有收到扫描", "检查扫描设备的电源和网络;用 scanrelay listen 看有没有报文到达"},
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
