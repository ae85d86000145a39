package rollout

import (
	"fmt"
	"strconv"
	"strings"
)

// words are those for people, by language: of states, and of what they need.
var words = map[string]map[string]string{
	"en": {
		Running: "running", Paused: "paused", Halted: "halted", Back: "going back", Done: "done",
		"need_" + NeedDecision: "Decide: look at the gateways that failed, then scanrelay rollout back, or resume if it was not the release.",
		"need_" + NeedResume:   "It is paused: scanrelay rollout resume goes on, halt stops it.",
		"need_" + NeedReach:    "None of this ring can be reached: look at their lines, or halt and start with other canaries.",
		"need_" + NeedStuck:    "Gateways of this ring are under way for hours: look at update status on them.",
		"need_" + NeedSilent:   "Gateways were told and are silent since: look at them; their sites wait for them.",
		"need_" + NeedUnable:   "Gateways say nothing of updates: install the package of this version there once.",
		"need_" + NeedFailed:   "Some failed, fewer than halt it: look at them.",
		"canaries":             "canaries", "ring": "ring",
	},
	"zh": {
		Running: "推送中", Paused: "已暂停", Halted: "已停止", Back: "退回中", Done: "已完成",
		"need_" + NeedDecision: "需要决定:先查失败的网关,再 scanrelay rollout back 退回;若不是版本的问题则 resume 继续。",
		"need_" + NeedResume:   "已暂停:scanrelay rollout resume 继续,halt 停止。",
		"need_" + NeedReach:    "本批次的网关都联系不上:检查网络,或停止后换一批先行网点。",
		"need_" + NeedStuck:    "本批次有网关几小时还没完成:在网关上看 update status。",
		"need_" + NeedSilent:   "有网关收到通知后失联:请检查;同站点的其他网关在等它。",
		"need_" + NeedUnable:   "有网关不上报更新状态:请在那里安装一次本版本的安装包。",
		"need_" + NeedFailed:   "有少量失败,未到停止界限:请查看。",
		"canaries":             "先行网点", "ring": "批次",
	},
}

// Word is a word for people; the key itself where there is none.
func Word(lang, key string) string {
	if w := words[lang][key]; w != "" {
		return w
	}
	return key
}

// whyRestored is why a rollout is paused by a backup that was put back; whyFailed why it was halted.
const (
	whyRestored = "a backup was put back: it may have been halted since"
	whyBy       = "by "
	whyFailed   = "%d of %d gateways that were told have failed"
)

// Reason is Why in the reader's language.
func (r *Rollout) Reason(lang string) string {
	if lang != "zh" {
		return r.Why
	}
	var failed, told int
	if n, _ := fmt.Sscanf(r.Why, whyFailed, &failed, &told); n == 2 {
		return fmt.Sprintf("已通知的 %[2]d 台网关中有 %[1]d 台失败", failed, told)
	}
	if who, ok := strings.CutPrefix(r.Why, whyBy); ok {
		return "由 " + who + " 停止"
	}
	return strings.ReplaceAll(r.Why, whyRestored, "恢复了备份:备份之后它可能已被停止")
}

// Name is how a ring is called, as ring 2 (10 %).
func (r *Rollout) Name(lang string, ring int) string {
	if ring == 0 {
		return Word(lang, "canaries")
	}
	return Word(lang, "ring") + " " + strconv.Itoa(ring) + " (" + strconv.FormatFloat(r.Rings[ring-1]*100, 'g', 4, 64) + " %)"
}
