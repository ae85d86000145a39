"use strict";
// Alarms with what to do, and charts of the last hour and day.
Object.assign(words.en, {
  charts: "Lately", hourLong: "last hour", dayLong: "last day", chartsEmpty: "The first minute is being counted.", perMinute: "a minute", perQuarter: "a quarter of an hour", scansIn: "scans received", pushedOut: "pushed",
  waitingNow: "waiting", toPhone: "from scan to push", half: "half within", most: "99 % within", now: "now", wearText: b => bytes(b) + " a day are written to the medium (since the boot)", lifeText: p => "up to " + p + " % of its life is used", todo: "what to do",
});
Object.assign(words.zh, {
  charts: "近况", hourLong: "最近一小时", dayLong: "最近一天", chartsEmpty: "正在统计第一分钟。", perMinute: "每分钟", perQuarter: "每一刻钟", scansIn: "收到扫描", pushedOut: "已推送",
  waitingNow: "等待", toPhone: "从扫描到推送", half: "一半在", most: "99% 在", now: "现在", wearText: b => "存储介质每天写入 " + bytes(b) + "（自开机起）", lifeText: p => "寿命已用不超过 " + p + "%", todo: "处理",
});
let alarmWords = null, lately = null, span = "minutes";
tabs.now.alarms = s => {
  const list = s.alarms || [];
  $("alarms").hidden = !list.length;
  $("alarms").replaceChildren(...list.map(kind => {
    const x = alarmWords && alarmWords[lang][kind] || { What: kind, Do: "" };
    const detail = { store_damaged: s.store.damaged, wechat_blocked: s.wechat.reason, mqtt_down: s.mqtt.problem }[kind];
    return make("li", {}, make("b", { className: "fault" }, x.What), detail ? " (" + reason(detail) + ")" : null, x.Do ? make("div", {}, w("todo") + ": " + x.Do) : null);
  }));
};
const svg = (tag, attrs, ...inside) => {
  const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [k, v] of Object.entries(attrs)) e.setAttribute(k, v);
  e.append(...inside); return e;
};
// chart draws series of numbers over each other; the newest is at the right.
function chart(title, series, text) {
  const long = span === "minutes" ? 60 : 96, W = 320, H = 90, most = Math.max(1e-9, ...series.flatMap(s => s.list));
  const x = (i, n) => W * (long - n + i) / long, lines = series.map(s => svg("polyline", { class: s.kind, points: [...s.list.map((v, i) => [x(i, s.list.length), v]), [W, s.list[s.list.length - 1]]].map(([at, v]) => at.toFixed(1) + "," + (H - H * v / most).toFixed(1)).join(" ") }));
  const last = series.map(s => s.name + " " + text(s.list[s.list.length - 1])).join(", ");
  return make("figure", {}, make("figcaption", {}, title + ": ", make("b", {}, last)),
    svg("svg", { viewBox: "0 -14 " + W + " " + (H + 30), role: "img", "aria-label": title + ": " + last, preserveAspectRatio: "none" },
      svg("line", { class: "axis", x1: 0, x2: W, y1: H, y2: H }), svg("line", { class: "axis", x1: 0, x2: W, y1: 0, y2: 0 }),
      ...lines), make("div", { className: "note" }, "↑ " + text(most <= 1e-9 ? 0 : most) + " · " + w(span === "minutes" ? "hourLong" : "dayLong")));
}
const seconds = v => v >= 60 ? (v / 60).toFixed(1) + " " + w("min") : v >= 1 ? v.toFixed(1) + " " + w("sec") : Math.round(v * 1000) + " ms";
function drawCharts() {
  const h = lately && lately[span] || [], unit = w(span === "minutes" ? "perMinute" : "perQuarter");
  $("chartsEmpty").hidden = h.length > 0;
  $("charts").replaceChildren(...(h.length ? [
    chart(unit, [{ name: w("scansIn"), kind: "one", list: h.map(p => p.received) }, { name: w("pushedOut"), kind: "two-line", list: h.map(p => p.pushed) }], num),
    chart(w("waitingNow"), [{ name: w("now"), kind: "one", list: h.map(p => p.waiting) }], num),
    chart(w("toPhone"), [{ name: w("half"), kind: "one", list: h.map(p => p.p50) }, { name: w("most"), kind: "two-line", list: h.map(p => p.p99) }], seconds)] : []));
  $("wear").textContent = !lately ? "" : [lately.written_per_day ? w("wearText")(lately.written_per_day) : "", lately.life_used ? w("lifeText")(lately.life_used) : ""].filter(Boolean).join(", ");
}
document.querySelectorAll("[data-span]").forEach(b => { b.onclick = () => {
  span = b.dataset.span;
  document.querySelectorAll("[data-span]").forEach(o => o.setAttribute("aria-pressed", o === b));
  drawCharts();
}; });
async function loadHistory() {
  try {
    if (!alarmWords) { alarmWords = await call("words"); if (last) tabs.now.alarms(last); }
    if (open === "now") { lately = await call("history"); drawCharts(); }
  } catch (e) { /* the agent is away: try again */ }
}
Object.assign(tabs.now, { show: loadHistory, word() { drawCharts(); if (last) tabs.now.alarms(last); } });
setInterval(() => { if (!document.hidden) loadHistory(); }, 20000);
