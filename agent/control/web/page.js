"use strict";
const words = {
  en: { tabNow: "Now", tabMap: "Map a device", tabWay: "Waybill", tabScans: "Last scans", tabDead: "Dead letters", tabRejected: "Quarantine", other: "中文", signOut: "sign out", scanners: "Scanners", central: "Centre", wechat: "WeChat", clock: "Clock", received: "Received, on disk",
    unsynced: "Waiting for the centre", to_push: "Waiting for WeChat", pushed: "Pushed", outcomes: "How events ended", intake: "Intake", store: "Store",
    connected: "connected", away: "not connected", ready: "may send", qos0: "messages at risk (QoS 0)", qos0Lost: "of them lost", ok: "ok", throttled: "throttled", blocked: "blocked", no_token: "no token", unreachable: "unreachable",
    unknown: "unknown", clockWaits: "events wait until the clock can be believed", lastSync: "last sync", never: "never synced", safe: "what is here is safe on disk",
    running: "running for", not_bound: "phone not bound", superseded: "superseded", expired: "expired", muted: "muted", dead: "dead letters", discarded: "discarded",
    duplicate: "duplicates", ignored: "ignored", rejected: "rejected", full: "full", room: "has room", onDisk: "on disk", inUse: "in use",
    awaiting: "await waybill data", oldest: "the oldest waits", lost: "The agent does not answer. It may be restarting; this page goes on trying.",
    fullAlarm: "The store is full: scans are not acknowledged until there is room.", damaged: "Damage was found and set aside: ", day: "d", hour: "h", min: "min", sec: "s" },
  zh: { tabNow: "现在", tabMap: "接入设备", tabWay: "运单", tabScans: "最近扫描", tabDead: "死信", tabRejected: "隔离区", other: "English", signOut: "退出", scanners: "扫描设备", central: "中心", wechat: "微信", clock: "时钟", received: "已收，已落盘",
    unsynced: "待同步到中心", to_push: "待推送到微信", pushed: "已推送", outcomes: "事件结局", intake: "接收", store: "存储",
    connected: "已连接", away: "未连接", ready: "可以发送", qos0: "条消息有丢失风险(QoS 0)", qos0Lost: "条已丢失", ok: "正常", throttled: "限流中", blocked: "被阻止", no_token: "无令牌", unreachable: "无法访问",
    unknown: "未知", clockWaits: "时钟可信之前事件先等待", lastSync: "上次同步", never: "尚未同步", safe: "已收到的都安全落盘",
    running: "已运行", not_bound: "手机号未绑定", superseded: "已被取代", expired: "已过期", muted: "不推送", dead: "死信", discarded: "已丢弃",
    duplicate: "重复", ignored: "忽略", rejected: "无法识别", full: "已满", room: "有空间", onDisk: "占用磁盘", inUse: "使用中",
    awaiting: "等待运单资料", oldest: "最久等待", lost: "网点端没有应答，可能正在重启；本页会继续尝试。",
    fullAlarm: "存储已满：腾出空间之前不再确认扫描。", damaged: "发现损坏并已隔离：", day: "天", hour: "小时", min: "分", sec: "秒" },
};
let lang = localStorage.getItem("lang") || ((navigator.language || "").startsWith("zh") ? "zh" : "en"), last = null;
const token = document.querySelector("meta[name=form-token]").content; // "": nobody signs in here
const $ = id => document.getElementById(id), w = key => words[lang][key] || key;
const num = n => Number(n).toLocaleString(lang === "zh" ? "zh-CN" : "en");
function age(s) {
  s = Math.floor(s);
  if (s < 60) return s + " " + w("sec");
  if (s < 3600) return Math.floor(s / 60) + " " + w("min");
  if (s < 86400) return Math.floor(s / 3600) + " " + w("hour");
  return Math.floor(s / 86400) + " " + w("day");
}
const bytes = n => n < 1024 ? n + " B" : n < 1048576 ? (n / 1024).toFixed(1) + " KiB" : n < 1073741824 ? (n / 1048576).toFixed(1) + " MiB" : (n / 1073741824).toFixed(2) + " GiB";
function state(id, kind, text, note) { $(id).className = "state " + kind; $(id).textContent = text; $(id + "Note").textContent = note || ""; }
function list(id, rows) {
  $(id).replaceChildren(...rows.flatMap(([key, value, attention]) => {
    const dt = document.createElement("dt"), dd = document.createElement("dd");
    dt.textContent = w(key); dd.textContent = num(value); if (attention && value > 0) dd.className = "attention";
    return [dt, dd];
  }));
}
function alarm(text) { $("alarm").style.display = text ? "block" : "none"; $("alarm").textContent = text || ""; }
function show(s) {
  document.documentElement.lang = lang; $("lang").textContent = w("other");
  document.querySelectorAll("[data-t]").forEach(e => { e.textContent = w(e.dataset.t); });
  if (!s) return;
  document.title = s.depot + " · scanrelay"; $("depot").textContent = s.depot;
  $("sub").textContent = s.version + " · " + w("running") + " " + age(s.uptime_seconds);
  state("mqtt", s.mqtt.connected ? "ok" : "bad", !s.mqtt.connected ? w("away") : s.mqtt.clients ? num(s.mqtt.clients) + " " + w("connected") : w("ready"),
    reason(s.mqtt.problem) || (s.mqtt.qos0 ? num(s.mqtt.qos0) + " " + w("qos0") + (s.mqtt.lost ? ", " + num(s.mqtt.lost) + " " + w("qos0Lost") : "") : ""));
  state("central", s.central.connected ? "ok" : "warn", w(s.central.connected ? "connected" : "away"),
    (s.central.problem ? reason(s.central.problem) + "; " : "") + (s.central.last_sync ? w("lastSync") + " " + new Date(s.central.last_sync).toLocaleString(lang === "zh" ? "zh-CN" : "en-GB") : w("never")));
  state("wechat", s.wechat.state === "ok" ? "ok" : s.wechat.state === "blocked" ? "bad" : "warn", w(s.wechat.state), reason(s.wechat.reason));
  state("clock", s.clock === "ok" ? "ok" : "warn", w(s.clock), s.clock === "ok" ? "" : w("clockWaits"));
  for (const id of ["unsynced", "to_push"]) $(id).textContent = num(s.pending[id]);
  $("received").textContent = num(s.intake.received); $("pushed").textContent = num(s.outcome.pushed);
  $("unsyncedNote").textContent = s.pending.unsynced > 0 && !s.central.connected ? w("safe") : "";
  $("pushNote").textContent = s.pending.awaiting_waybill > 0 ? "+ " + num(s.pending.awaiting_waybill) + " " + w("awaiting") : "";
  $("receivedNote").textContent = s.pending.oldest_seconds > 0 ? w("oldest") + " " + age(s.pending.oldest_seconds) : "";
  const o = s.outcome;
  list("outcomes", [["pushed", o.pushed], ["not_bound", o.not_bound], ["superseded", o.superseded], ["expired", o.expired], ["muted", o.muted], ["dead", o.dead, true], ["discarded", o.discarded]]);
  list("intake", [["received", s.intake.received], ["duplicate", s.intake.duplicate], ["ignored", s.intake.ignored], ["rejected", s.intake.rejected, true]]);
  state("store", s.store.full ? "bad" : "ok", w(s.store.full ? "full" : "room"), w("onDisk") + " " + bytes(s.store.file_bytes) + ", " + w("inUse") + " " + bytes(s.store.live_bytes));
  $("used").style.width = (s.store.file_bytes > 0 ? Math.min(100, 100 * s.store.live_bytes / s.store.file_bytes) : 0) + "%";
  alarm("");
  if (tabs.now.alarms) tabs.now.alarms(s);
}
async function poll() {
  try {
    const r = await fetch("api/status", { cache: "no-store" });
    if (r.status === 401) location.reload(); // signed out
    if (!r.ok) throw new Error(r.status);
    last = await r.json(); show(last);
  } catch (e) { alarm(w("lost")); }
  setTimeout(poll, document.hidden ? 10000 : 1500);
}
$("lang").onclick = () => { lang = lang === "en" ? "zh" : "en"; localStorage.setItem("lang", lang); show(last); Object.values(tabs).forEach(t => t.word && t.word()); };
// call asks the agent; what acts carries the page's token. It returns the last line of
// the answer, or throws what went wrong.
async function call(path, body, signal) {
  const r = await fetch("api/" + path, body === undefined ? { cache: "no-store" } : { method: "POST", body: JSON.stringify(body), headers: { "X-Form-Token": token }, signal });
  if (r.status === 401) location.reload(); // signed out
  const lines = (await r.text()).trim().split("\n"), answer = JSON.parse(lines[lines.length - 1] || "null");
  if (!r.ok || answer && answer.error) throw new Error(answer && answer.error || r.status);
  return answer;
}
// reason is what the agent gives as one, in the reader's language: Chinese is asked for,
// and drawn once it is there.
const chinese = new Map(), unasked = new Set();
let asking = 0;
function reason(text) {
  if (lang !== "zh" || !text) return text;
  if (chinese.has(text)) return chinese.get(text);
  unasked.add(text);
  if (!asking) asking = setTimeout(askChinese, 50);
  return text;
}
async function askChinese() {
  const list = [...unasked].slice(0, 100);
  unasked.clear(); asking = 0;
  if (chinese.size > 2000) chinese.clear();
  try { (await call("chinese", { texts: list })).forEach((zh, i) => chinese.set(list[i], zh)); } catch (e) { return; }
  show(last);
  if (tabs[open] && tabs[open].said) tabs[open].said();
}
// make is an element with attributes and what is in it.
function make(tag, attrs, ...inside) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(attrs || {})) if (k in e && k !== "list") e[k] = v; else if (v !== undefined) e.setAttribute(k, v);
  e.append(...inside.filter(x => x !== undefined && x !== null));
  return e;
}
const tabs = { now: {} }; // by name: show(), and word() after a change of the language
let open = "";
function openTab(name) {
  if (!tabs[name]) name = "now";
  open = name;
  document.querySelectorAll("[data-tab]").forEach(b => { b.setAttribute("aria-selected", b.dataset.tab === name); b.tabIndex = b.dataset.tab === name ? 0 : -1; });
  document.querySelectorAll("[role=tabpanel]").forEach(p => { p.hidden = p.id !== "tab-" + name; });
  if (tabs[name].show) tabs[name].show();
}
$("tabs").onclick = e => { if (e.target.dataset.tab) location.hash = e.target.dataset.tab; };
$("tabs").onkeydown = e => {
  const all = [...document.querySelectorAll("[data-tab]")], step = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
  if (step) { const to = all[(all.indexOf(document.activeElement) + step + all.length) % all.length]; to.focus(); location.hash = to.dataset.tab; }
};
addEventListener("hashchange", () => openTab(location.hash.slice(1)));
addEventListener("load", () => openTab(location.hash.slice(1)));
if (token) { $("out").hidden = false; $("out").elements.form_token.value = token; }
show(null); poll();
