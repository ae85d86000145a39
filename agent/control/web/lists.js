"use strict";
// A waybill's way, the last scans, dead letters and the quarantine.
Object.assign(words.en, {
  waybill: "Waybill", find: "find", seeking: "looking …", scansNote: "The last scans since the agent started, the newest first.", none: "none", retry: "retry those chosen", retryAll: "retry all", why: "why", discard: "discard those chosen",
  replaySome: "try those chosen again", replayAll: "try all again", chooseOne: "Choose some first.", whyNeeded: "Say why: it is recorded.", done: n => n + " done.",
  more: n => "More than " + n + "; these are shown.", hTime: "time", hState: "state", hAction: "action", hReceived: "received", hTries: "tries", hWhy: "why", hDevice: "device", hTopic: "topic", hText: "message", hPick: "choose", hMsg: "text",
  pending: "on its way", awaiting_waybill: "awaits waybill data", notFound: "No scan of this waybill is stored here.", signFirst: "To act, sign in (http.password).",
  replayedSome: r => r.left + " understood, " + r.events + " scans stored, " + r.remaining + " still not understood.", again: "Press again to do it to all.", sayPushed: "pushed", sayDead: "dead letter",
});
Object.assign(words.zh, {
  waybill: "运单号", find: "查找", seeking: "正在查找……", scansNote: "网点程序启动以来的最近扫描，最新的在前。", none: "没有", retry: "重试所选", retryAll: "全部重试", why: "原因", discard: "丢弃所选",
  replaySome: "所选再试一次", replayAll: "全部再试一次", chooseOne: "请先选择。", whyNeeded: "请写原因，它会被记录。", done: n => "完成 " + n + " 条。",
  more: n => "多于 " + n + " 条，只显示这些。", hTime: "时间", hState: "状态", hAction: "动作", hReceived: "收到", hTries: "次数", hWhy: "原因", hDevice: "设备", hTopic: "主题", hText: "报文", hPick: "选择", hMsg: "文字",
  pending: "进行中", awaiting_waybill: "等待运单资料", notFound: "本网点没有这个运单的扫描。", signFirst: "要操作请先登录（http.password）。",
  replayedSome: r => "识别 " + r.left + " 条，存入 " + r.events + " 条扫描，仍有 " + r.remaining + " 条无法识别。", again: "再按一次即对全部执行。", sayPushed: "已推送", sayDead: "死信",
});
const stateWord = s => s === "" ? w("pending") : s === "pushed" ? w("sayPushed") : s === "dead" ? w("sayDead") : w(s);
const stateKind = s => s === "pushed" ? "good" : s === "dead" || s === "expired" ? "fault" : "";
const moment = t => t ? new Date(typeof t === "number" ? t * 1000 : t).toLocaleString(lang === "zh" ? "zh-CN" : "en-GB") : "–";
const cell = (text, kind) => make("td", { className: kind || "" }, text);
const table = (heads, rows) => rows.length ? make("table", { className: "rows" }, make("thead", {}, make("tr", {}, ...heads.map(h => make("th", { scope: "col" }, w(h))))), make("tbody", {}, ...rows.map(r => make("tr", {}, ...r)))) : make("p", { className: "note" }, w("none"));

let way = null;
function drawWay() {
  if (!way) return;
  $("way").replaceChildren(table(["hTime", "hReceived", "hAction", "hState", "hTries", "hWhy", "hMsg"], way.nodes.map(n => [cell(moment(n.action_time)), cell(moment(n.received_at)), cell(n.action_type), cell(stateWord(n.state), stateKind(n.state)), cell(n.attempts), cell((n.errcode ? n.errcode + " " : "") + reason(n.last_error), "wide"), cell(n.action_msg, "wide")])));
}
$("find").onsubmit = async e => {
  e.preventDefault();
  way = null;
  $("way").replaceChildren(make("p", { className: "note" }, w("seeking")));
  try { way = await call("trace?waybill=" + encodeURIComponent(e.target.elements.waybill.value.trim())); drawWay(); } catch (x) { $("way").replaceChildren(make("p", { className: "care" }, /no event of this waybill/.test(x.message) ? w("notFound") : x.message)); }
};
function goTo(waybill) { location.hash = "way"; $("find").elements.waybill.value = waybill; $("find").requestSubmit(); }
const link = waybill => make("td", {}, make("button", { type: "button", onclick: () => goTo(waybill) }, waybill));

let scans = [];
async function loadScans() {
  if (open !== "scans" || document.hidden) return;
  try { const s = await call("scans"); if (JSON.stringify(s) !== JSON.stringify(scans) && !$("scans").contains(document.activeElement)) { scans = s; drawScans(); } } catch (e) { /* away: try again */ }
}
function drawScans() {
  $("scans").replaceChildren(table(["hReceived", "waybill", "hAction", "hDevice", "hState"], scans.map(s => [cell(moment(s.received_at)), link(s.waybill_id), cell(s.action_type), cell(s.device_id), cell(stateWord(s.state), stateKind(s.state))])));
}
setInterval(loadScans, 1500);
tabs.way = { show() { $("find").elements.waybill.focus(); }, word: drawWay, said: drawWay };
tabs.scans = { show() { drawScans(); loadScans(); }, word: drawScans };

// worklist is a list with a box before each entry, and what is done with those chosen.
function worklist(name, path, heads, row) {
  const list = { items: [], more: false, chosen: new Set() };
  list.load = async () => {
    try { Object.assign(list, { items: [], more: false }, await call(path).then(a => ({ items: a.list, more: a.more }))); list.draw(); } catch (e) { $(name + "Note").textContent = e.message; }
  };
  list.draw = () => {
    list.chosen = new Set([...list.chosen].filter(id => list.items.some(x => x.id === id)));
    $(name + "Note").textContent = list.more ? w("more")(list.items.length) : "";
    $(name + "List").replaceChildren(table(["hPick", ...heads], list.items.map(x => [make("td", {}, make("input", { type: "checkbox", checked: list.chosen.has(x.id), "aria-label": x.id, onchange: e => { e.target.checked ? list.chosen.add(x.id) : list.chosen.delete(x.id); } })), ...row(x)])));
  };
  list.act = async (call1, body, said) => {
    if (!token) { $(name + "Said").textContent = w("signFirst"); return; }
    try { $(name + "Said").textContent = said(await call(call1, body)); } catch (e) { $(name + "Said").textContent = e.message; }
    list.load();
  };
  list.some = f => { if (list.chosen.size) f([...list.chosen]); else $(name + "Said").textContent = w("chooseOne"); };
  // all is done at the second press.
  list.all = f => { if ($(name + "Said").textContent === w("again")) f(); else $(name + "Said").textContent = w("again"); };
  return list;
}
const dead = worklist("dead", "deadletters", ["waybill", "hAction", "hReceived", "hTries", "hWhy"], n => [link(n.waybill_id), cell(n.action_type), cell(moment(n.received_at)), cell(n.attempts), cell((n.errcode ? n.errcode + " " : "") + reason(n.last_error), "wide")]);
const counted = c => w("done")(c.count);
$("retry").onclick = () => dead.some(ids => dead.act("deadletters/retry", { ids }, counted));
$("retryAll").onclick = () => dead.all(() => dead.act("deadletters/retry", { all: true }, counted));
$("discard").onclick = () => dead.some(ids => { if ($("why").value.trim()) dead.act("deadletters/discard", { ids, reason: $("why").value.trim() }, counted); else { $("deadSaid").textContent = w("whyNeeded"); $("why").focus(); } });
const rejected = worklist("rejected", "quarantine", ["hReceived", "hTopic", "hWhy", "hText"], r => [cell(moment(r.received_at)), cell(r.topic), cell(reason(r.last_error), "wide"), make("td", { className: "wide" }, make("code", {}, r.text))]);
$("replaySome").onclick = () => rejected.some(ids => rejected.act("quarantine/replay", { ids }, w("replayedSome")));
$("replayAll").onclick = () => rejected.all(() => rejected.act("quarantine/replay", { all: true }, w("replayedSome")));
tabs.dead = { show: dead.load, word: dead.draw, said: dead.draw };
tabs.rejected = { show: rejected.load, word: rejected.draw, said: rejected.draw };
