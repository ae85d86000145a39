package fleet

import "scanrelay/uplink/syncapi/health"

// Word is what an alarm says to people.
type Word = health.Word

// Words are those of each kind that only the centre sees, by language; the others are
// package health's.
var Words = map[string]map[string]Word{
	"en": {
		Away:       {What: "no sync for half a minute: the gateway, its power or its line is down", Do: "scans are kept there; look at power and line, then at scanrelay status on the gateway"},
		NeverHeard: {What: "not heard of since this centre started", Do: "install and enrol the gateway, or look at its line"},
		Cloned:     {What: "two machines run with this depot's identity, one from a copy of the card; the one that had been replaced is refused", Do: "give the copy a depot and an empty data_dir of its own, then scanrelay depot reset"},
		KeyUnknown: {What: "its gateway got another key after the backup that was put back, which is not known here: it is refused", Do: "scanrelay depot reset, then scanrelay enrol with that token on the gateway"},
		Unreadable: {What: "its registration cannot be read: it is let in by nothing", Do: "put its document back from a backup of the database, or scanrelay depot reset, then scanrelay enrol with that token on the gateway"},
		Refused:    {What: "what it sends is not taken: it speaks another version of the sync API, or sends what is no sync", Do: "update the older of gateway and centre; the gateway's log and scanrelay status there have the reason"},
		Behind:     {What: "its oldest event waits for more than ten minutes", Do: "look at its other alarms, at the line, and at the rate of the fleet"},
		Gaps:       {What: "numbers that never came: the gateway lost what it had sent, or its store was replaced", Do: "look at its store: scanrelay store check"},
	},
	"zh": {
		Away:       {What: "半分钟没有同步:网关断电、断网或停机", Do: "扫描数据保存在网关上;先查电源和网络,再在网关上看 scanrelay status"},
		NeverHeard: {What: "本中心启动以来没有收到它的消息", Do: "安装并登记网关,或检查网络"},
		Cloned:     {What: "两台机器在用这个网点的身份(其中一台是拷卡),先前的被拒绝", Do: "给拷贝的那台另建网点并清空它的 data_dir,然后 scanrelay depot reset"},
		KeyUnknown: {What: "网关在恢复所用的备份之后换过密钥,本中心不认识新密钥:它被拒绝", Do: "scanrelay depot reset,再在网关上用该令牌 scanrelay enrol"},
		Unreadable: {What: "它的登记记录读不出来:任何凭证都不放行", Do: "从数据库备份恢复该记录,或 scanrelay depot reset,再在网关上用该令牌 scanrelay enrol"},
		Refused:    {What: "它发来的内容不被接受:同步接口版本不同,或内容不是同步请求", Do: "升级网关和中心中较旧的一方;原因见网关的日志和 scanrelay status"},
		Behind:     {What: "最早的事件已等待十分钟以上", Do: "看它的其他告警、网络和全网速率"},
		Gaps:       {What: "有从未到达的序号:网关丢失了已发的数据,或存储被更换", Do: "检查它的存储:scanrelay store check"},
	},
}

// WordOf is what there is to say of a kind in a language.
func WordOf(lang, kind string) Word {
	if w, ok := Words[lang][kind]; ok {
		return w
	}
	return health.WordOf(lang, kind)
}
