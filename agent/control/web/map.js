"use strict";
// Mapping a device: a message is chosen, its values are clicked, and the YAML that says so
// is written beside it. Whether it is right, and what becomes of messages, the agent says.
Object.assign(words.en, {
  mapClosed: "To map devices here, give http.password in the agent's configuration and sign in.", mapChoose: "1. Choose a message of the device",
  mapLive: "what arrives now", mapRejected: "quarantine", mapPaste: "paste one", mapWait: "Scan something with the device: what it sends appears here.",
  mapNone: "The quarantine is empty.", mapTake: "take it", topic: "Topic", message: "Message", mapClick: "2. Say what is what: choose a role, click the value", readAs: "read as",
  mapping: "3. The mapping", action: "What happened", says: "What the receiver reads", timeFormat: "Form of the time, if it is not understood", aim: "take off AIM prefixes such as ]C1",
  name: "Name", yaml: "As written into sources.d", save: "Save and use it", replayNow: "Put the quarantine through it", becomes: "What the last messages become",
  action_msg: "text", waybill_id: "waybill", action_time: "time", action_type: "action", station: "station", device_id: "device", any: "any level", event: "scan", rejected: "not understood", unmapped: "nobody takes it", large: "too large to show",
  isSaved: "Saved and in use: ", notSaved: "Not saved, nothing was changed.", waits: (e, u) => e ? u + " of " + e + " in quarantine would be understood." : "", replayed: r => r.events + " scans stored, " + r.remaining + " still not understood.",
  otherTakes: "another source takes it: ", shadow: "has no effect as it stands", wordIs: "The device's word for the action:", cut: "… more is not shown", failed: "It cannot be read so.", choose: "(choose)",
  needWaybill: "Click the waybill number first.", events: n => n + " scan" + (n === 1 ? "" : "s"),
});
Object.assign(words.zh, {
  mapClosed: "要在这里接入设备，请在网点配置里写 http.password 并登录。", mapChoose: "1. 选一条设备的报文",
  mapLive: "正在到达的", mapRejected: "隔离区", mapPaste: "粘贴一条", mapWait: "用设备扫一下，它发的内容会出现在这里。",
  mapNone: "隔离区是空的。", mapTake: "使用", topic: "主题", message: "报文", mapClick: "2. 指明含义：先选角色，再点数值", readAs: "按此格式读取",
  mapping: "3. 映射", action: "发生了什么", says: "收件人看到的文字", timeFormat: "时间格式（认不出时填写）", aim: "去掉 AIM 前缀，如 ]C1",
  name: "名称", yaml: "写入 sources.d 的内容", save: "保存并启用", replayNow: "让隔离区重新通过", becomes: "最近的报文会变成什么",
  action_msg: "文字", waybill_id: "运单号", action_time: "时间", action_type: "动作", station: "站点", device_id: "设备", any: "任意层", event: "扫描", rejected: "无法识别", unmapped: "没有来源接收", large: "太大，不显示",
  isSaved: "已保存并启用：", notSaved: "未保存，什么都没有改变。", waits: (e, u) => e ? "隔离区 " + e + " 条中有 " + u + " 条可以识别。" : "", replayed: r => "存入 " + r.events + " 条扫描，仍有 " + r.remaining + " 条无法识别。",
  otherTakes: "被另一来源接收：", shadow: "当前不起作用", wordIs: "设备表示动作的词：", cut: "……更多内容未显示", failed: "不能按此格式读取。", choose: "（选择）",
  needWaybill: "请先点运单号。", events: n => n + " 条扫描",
});
const roleNames = ["waybill_id", "action_time", "action_type", "station", "device_id", "any"];
const m = { of: "messages", list: [], id: "", shape: null, role: "waybill_id", picks: {}, any: new Set(), words: [], codes: [], chosen: {}, own: false, timer: 0, round: 0, saysOwn: false, trying: new AbortController(), asking: false, ticks: 0 };
const quote = s => JSON.stringify(s);
const messageOf = { 100001: "快件已揽收 【{{.Depot.Name}}】", 200001: "快件到达 【{{.Depot.Name}}】", 300002: "快件正在派送", 300003: "快件已签收" };
const guesses = [[/揽|收件|GOT|PICK/i, 100001], [/派|DELIVER/i, 300002], [/签|SIGN/i, 300003], [/退|RETURN/i, 400003], [/拒/, 400004], [/滞|留/, 400002], [/问题|疑难|PROBLEM/i, 400005], [/到|发|ARRIV|DEPART|TRANS/i, 200001]];

// tokens are a pointer's, without the place in an array that the whole message is; stars
// stands * for every place in an array.
function tokens(pick) {
  const all = pick.p === "" ? [] : pick.p.split("/").slice(1), at = pick.i || [];
  const stars = all.map((t, k) => at.includes(k) ? "*" : t), root = at[0] === 0 ? 1 : 0;
  return { all: all.slice(root), stars: stars.slice(root), at: at.filter(k => k >= root).map(k => k - root) };
}
const pointer = list => list.map(t => "/" + t).join("");

// build writes the mapping of what was clicked.
function build() {
  const decoder = m.shape.decoder, fields = {}, lines = [], filter = m.shape.topic.split("/"), wrapped = {};
  let split = "", columns = null, pattern = "";
  for (const k of m.any) filter[k] = "+";
  const values = Object.entries(m.picks).filter(([, p]) => p.level === undefined);
  for (const [role, p] of Object.entries(m.picks)) if (p.level !== undefined) { fields[role] = "topic[" + p.level + "]"; filter[p.level] = "+"; }
  if (decoder === "csv") {
    columns = Array.from({ length: Math.max(...m.shape.lines.map(l => l.length)) }, () => "");
    for (const [role, p] of values) columns[p.cell] = role;
  } else if (decoder === "text") {
    const at = Object.fromEntries(values.map(([role, p]) => [p.cell, role])), line = m.shape.lines[values.length ? values[0][1].line : 0] || [];
    if (line.length > 1 && values.length) {
      pattern = "^";
      for (let k = 0; k <= Math.max(...Object.keys(at)); k++) {
        const one = line[k].value ? "[A-Za-z0-9_-]+" : "[^A-Za-z0-9_-]+";
        pattern += at[k] ? "(?P<" + at[k] + ">" + one + ")" : one;
      }
    }
  } else {
    const arrays = decoder === "sparkplug" ? [] : values.filter(([, p]) => tokens(p).at.length).sort((a, b) => (b[0] === "waybill_id") - (a[0] === "waybill_id"));
    let base = null;
    if (arrays.length) {
      const t = tokens(arrays[0][1]);
      base = t.stars.slice(0, Math.max(...t.at)); split = pointer(base);
    }
    for (const [role, p] of values) {
      const t = tokens(p), inside = base && t.at.length && pointer(t.stars.slice(0, base.length)) === split && t.stars[base.length] === "*";
      fields[role] = inside ? pointer(t.all.slice(base.length + 1)) : pointer(t.all);
      if (p.w) (wrapped[p.w] = wrapped[p.w] || []).push(role);
    }
  }
  if (m.shape.wrapped) (wrapped[m.shape.wrapped] = wrapped[m.shape.wrapped] || []).push("payload");
  const stations = stationsNamed();
  if (!m.picks.station) fields.station = "=" + stations[0];
  lines.push("sources:", "  - topic: " + quote(filter.join("/")), "    decoder: " + decoder);
  if (m.shape.encoding) lines.push("    encoding: " + m.shape.encoding);
  if (split) lines.push("    split: " + quote(split));
  if (columns) lines.push("    columns: [" + columns.map(quote).join(", ") + "]");
  if (pattern) lines.push("    pattern: " + quote(pattern));
  const named = Object.entries(fields).map(([k, v]) => k + ": " + quote(v));
  if (named.length) lines.push("    fields: {" + named.join(", ") + "}");
  const chosen = m.words.filter(x => m.chosen[x]).map(x => quote(x) + ": " + quote(m.chosen[x]));
  if (m.picks.action_type && chosen.length) lines.push("    values: {action_type: {" + chosen.join(", ") + "}}");
  for (const [form, list] of Object.entries(wrapped)) lines.push("    " + form + ": [" + list.join(", ") + "]");
  if ($("timeFormat").value) lines.push("    time_formats: [" + quote($("timeFormat").value) + "]");
  if ($("aim").checked) lines.push("    aim: true");
  lines.push("stations:");
  for (const id of stations) lines.push("  " + quote(id) + ": {" + (m.picks.action_type ? "" : "action_type: " + $("code").value + ", ") + "action_msg: " + quote($("says").value) + "}");
  return lines.join("\n") + "\n";
}
// stationsNamed are those that the mapping describes: all that were seen, or one.
function stationsNamed() {
  const p = m.picks.station, seen = new Set();
  if (!p) return [$("name").value || "new"];
  if (p.level !== undefined) {
    const own = m.shape.topic.split("/");
    for (const one of [m.shape.topic, ...m.list.map(x => x.topic)]) {
      const levels = one.split("/");
      if (levels.length === own.length && levels.every((l, k) => l === own[k] || m.any.has(k) || Object.values(m.picks).some(q => q.level === k)) && !levels[p.level].includes("*")) seen.add(levels[p.level]);
    }
  } else if (p.v && !p.v.includes("*")) seen.add(p.v);
  return seen.size ? [...seen].sort() : [$("name").value || "new"];
}

function same(a, b) { return a && b && a.level === b.level && a.p === b.p && a.cell === b.cell && a.line === b.line; }
// choose gives a value the role that is chosen, or takes it.
function choose(pick) {
  if (m.role === "any") {
    if (pick.level === undefined) return;
    if (!m.any.delete(pick.level)) m.any.add(pick.level);
  } else if (same(m.picks[m.role], pick)) delete m.picks[m.role];
  else {
    for (const r of Object.keys(m.picks)) if (same(m.picks[r], pick) && !(r === "station" || m.role === "station" || r === "device_id" || m.role === "device_id")) delete m.picks[r];
    m.picks[m.role] = pick;
  }
  if (m.role === "action_type") askWords();
  // What most devices send comes next by itself.
  const next = { waybill_id: "action_time", action_time: "action_type" }[m.role];
  if (m.picks[m.role] && next && !m.picks[next]) { m.role = next; drawRoles(); }
  drawShape(); write();
}
async function askWords() {
  m.words = []; drawValues();
  const p = m.picks.action_type;
  if (!p || p.level !== undefined || m.shape.decoder === "text") return;
  const of = m.shape.decoder === "csv" ? "/" + p.cell : "/" + (p.p === "" ? [] : p.p.split("/").slice(1).map((t, k) => (p.i || []).includes(k) ? "*" : t)).join("/");
  m.words = (await call("map/words", { id: m.id, decoder: m.shape.decoder, pointer: of })).filter(x => !m.codes.some(c => String(c.code) === x));
  for (const x of m.words) if (!(x in m.chosen)) m.chosen[x] = String((guesses.find(([re]) => re.test(x)) || [0, ""])[1]);
  drawValues(); write();
}
function write() {
  if (!m.shape) return;
  $("fixedAction").hidden = !!m.picks.action_type;
  if (!m.saysOwn) $("says").value = (!m.picks.action_type && messageOf[$("code").value]) || "【{{.Depot.Name}}】已扫描";
  $("yaml").value = build();
  later();
}
// later tries what is written, once nothing more is; until then nothing is said of it.
function later() {
  m.outcome = null;
  clearTimeout(m.timer); m.timer = setTimeout(attempt, 250); m.round++;
  $("save").disabled = true; $("saved").textContent = ""; $("replay").hidden = true;
}
async function attempt() {
  const round = ++m.round;
  m.trying.abort(); m.trying = new AbortController();
  if (!m.picks.waybill_id) { $("save").disabled = true; $("tried").replaceChildren(make("p", { className: "note" }, w("needWaybill"))); $("problems").replaceChildren(); return; }
  try {
    const o = await call("map/try", { name: $("name").value, yaml: $("yaml").value }, m.trying.signal);
    if (round !== m.round) return; // a newer one is asked
    $("save").disabled = o.failed;
    m.outcome = o; drawOutcome();
  } catch (e) { if (round === m.round) { $("save").disabled = true; showProblems([{ key: "", text: e.message }]); } }
}
function drawOutcome() {
  const o = m.outcome;
  if (!o) return;
  showProblems(o.problems);
  $("waiting").textContent = w("waits")(o.quarantine.entries, o.quarantine.understood);
  $("tried").replaceChildren(...o.tried.map(drawTried));
}
function showProblems(list) {
  $("problems").replaceChildren(...list.map(p => make("li", { className: p.warning ? "care" : "fault" }, [p.file, p.line || null, p.key].filter(Boolean).join(":") + " " + reason(p.text))));
}
const shownFields = ["waybill_id", "action_type", "action_time", "station", "device_id", "action_msg"];
function drawTried(t) {
  const box = make("div", { className: "gap" }, make("div", { className: "mono" }, t.topic + " "));
  if (!t.own) box.append(make("p", { className: "care" }, w("otherTakes") + t.filter));
  for (const r of t.reads) {
    const kind = r.outcome === "event" ? "good" : r.outcome === "ignored" ? "note" : "fault";
    box.append(make("div", { className: kind }, make("span", { className: "badge" }, w(r.outcome)), " " + reason(r.reason)));
    if (r.outcome !== "event") continue;
    const rows = r.fields.filter(f => shownFields.includes(f.field)).sort((a, b) => shownFields.indexOf(a.field) - shownFields.indexOf(b.field));
    box.append(make("table", { className: "facts" }, make("tbody", {}, ...rows.map(f => make("tr", {}, make("th", { scope: "row" }, w(f.field)), make("td", { className: "mono" }, valueOf(f)), make("td", { className: "note" }, reason(f.from)))))));
  }
  if (t.more) box.append(make("p", { className: "note" }, "+ " + t.more));
  return box;
}
function valueOf(f) {
  const code = f.field === "action_type" && m.codes.find(c => String(c.code) === f.value);
  return code ? f.value + " " + code[lang] : f.value;
}

function drawRoles() {
  $("roles").replaceChildren(...roleNames.map(r => make("button", { type: "button", role: "radio", "aria-checked": String(r === m.role), tabIndex: r === m.role ? 0 : -1, "data-role": r, onclick: () => { m.role = r; drawRoles(); } }, w(r))));
}
$("roles").onkeydown = e => {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[e.key];
  if (!step) return;
  e.preventDefault();
  m.role = roleNames[(roleNames.indexOf(m.role) + step + roleNames.length) % roleNames.length];
  drawRoles(); $("roles").querySelector("[aria-checked=true]").focus();
};
function value(text, pick, at) {
  const roles = Object.keys(m.picks).filter(r => same(m.picks[r], pick)).map(w);
  if (pick.level !== undefined && m.any.has(pick.level)) roles.push("+");
  return make("button", { type: "button", className: "value", "data-role": roles.length ? roles.join("+") : undefined, "data-at": at, "aria-pressed": String(roles.length > 0), onclick: () => choose(pick) }, text === "" ? "\u00a0" : text);
}
function drawShape() {
  const s = m.shape, focus = document.activeElement.dataset && document.activeElement.dataset.at;
  $("levels").replaceChildren(...s.topic.split("/").flatMap((l, k) => [k ? " / " : "", value(l, { level: k }, "topic[" + k + "]")]));
  const rows = (s.nodes || []).map(n => {
    const deep = n.p.split("/").length - 1, row = make("div", { className: "leaf" });
    row.style.paddingLeft = Math.max(0, deep - 1) * 1.2 + "em";
    row.append(make("span", { className: "k" }, n.k + (n.value ? ": " : "")));
    if (n.value) row.append(value(n.v, n, n.p));
    return row;
  });
  for (const [i, line] of (s.lines || []).entries()) rows.push(make("div", { className: "leaf" }, ...line.map((x, k) => x.value ? value(x.v, { line: i, cell: k, v: x.v }, i + ":" + k) : make("span", { className: "mono k" }, x.v))));
  if (s.failed) rows.push(make("p", { className: "fault" }, w("failed")));
  if (s.cut) rows.push(make("p", { className: "note" }, w("cut")));
  $("shape").replaceChildren(...rows);
  if (focus) { const again = document.querySelector("[data-at=" + quote(focus) + "]"); if (again) again.focus(); }
}
function codeOptions(first) {
  return [...(first === undefined ? [] : [make("option", { value: "" }, first)]), ...m.codes.map(c => make("option", { value: c.code }, c.code + " " + c[lang]))];
}
function drawValues() {
  $("values").replaceChildren(...(m.words.length ? [make("h3", {}, w("wordIs"))] : []), ...m.words.map(x => {
    const select = make("select", { onchange: e => { m.chosen[x] = e.target.value; write(); } }, ...codeOptions(w("choose")));
    select.value = m.chosen[x] || "";
    return make("label", {}, make("code", {}, x), " ", select);
  }));
}

async function choice(id, decoder) {
  try { m.shape = await call("map/shape", { id, decoder: decoder || "" }); } catch (e) { $("mapHint").textContent = e.message; return; }
  m.shape.lines = m.shape.lines || []; // of an empty message there are none
  Object.assign(m, { id, picks: {}, any: new Set(), words: [], role: "waybill_id" });
  if (!decoder) { $("name").value = m.shape.topic.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 40).replace(/-+$/, "") || "device"; $("timeFormat").value = ""; $("aim").checked = false; m.saysOwn = false; }
  $("decoder").value = m.shape.decoder; $("mapWork").hidden = false;
  if (m.shape.decoder === "text" && m.shape.lines.length && m.shape.lines[0].length === 1) m.picks.waybill_id = { line: 0, cell: 0, v: m.shape.lines[0][0].v };
  $("tried").replaceChildren(); $("problems").replaceChildren(); $("waiting").textContent = "";
  drawRoles(); drawShape(); drawValues(); drawList(); write();
}
function drawList() {
  $("messages").replaceChildren(...m.list.map(x => make("li", {}, make("button", { type: "button", className: "pick", disabled: x.large, "aria-pressed": String(x.id === m.id), "data-id": x.id, onclick: () => choice(x.id) },
    make("span", { className: "note" }, new Date(x.at).toLocaleTimeString(lang === "zh" ? "zh-CN" : "en-GB") + " "), make("b", {}, x.topic), " ",
    make("span", { className: "badge " + ({ event: "good", rejected: "fault", unmapped: "care" }[x.outcome] || "") }, w(x.outcome)), " ", make("span", { className: "mono" }, x.text)))));
  $("mapHint").textContent = m.list.length ? "" : w(m.of === "quarantine" ? "mapNone" : "mapWait");
}
async function refresh() {
  if (open !== "map" || !token || m.asking) return;
  const of = m.of;
  m.asking = true;
  try {
    if (!m.codes.length) { m.codes = await call("map/actions"); $("code").replaceChildren(...codeOptions()); $("code").value = 200001; }
    if (of !== "paste" && !$("messages").contains(document.activeElement)) {
      const list = await call("map/" + of);
      if (of === m.of && JSON.stringify(list) !== JSON.stringify(m.list)) { m.list = list; drawList(); }
    }
  } finally { m.asking = false; }
  if (of !== m.of) await refresh();
}
document.querySelectorAll("[data-of]").forEach(b => { b.onclick = () => {
  m.of = b.dataset.of;
  document.querySelectorAll("[data-of]").forEach(o => o.setAttribute("aria-pressed", o === b));
  $("paste").hidden = m.of !== "paste"; $("messages").hidden = m.of === "paste"; $("mapHint").textContent = "";
  if (m.of !== "paste") { m.list = []; drawList(); refresh(); }
}; });
$("paste").onsubmit = async e => {
  e.preventDefault();
  try { const x = await call("map/paste", { topic: e.target.elements.topic.value, payload: e.target.elements.payload.value }); await choice(x.id); } catch (x) { $("mapHint").textContent = x.message; }
};
$("decoder").onchange = () => choice(m.id, $("decoder").value);
for (const id of ["code", "timeFormat", "aim", "name"]) $(id).addEventListener("input", write);
$("says").oninput = () => { m.saysOwn = true; write(); };
$("yaml").oninput = later;
$("save").onclick = async () => {
  try {
    const o = await call("map/save", { name: $("name").value, yaml: $("yaml").value });
    showProblems(o.problems);
    $("saved").className = o.failed ? "fault" : "good";
    $("saved").textContent = o.failed ? w("notSaved") : w("isSaved") + o.file;
    $("replay").hidden = o.failed;
  } catch (e) { $("saved").className = "fault"; $("saved").textContent = w("notSaved") + " " + e.message; }
};
$("replay").onclick = async () => {
  try { $("saved").textContent = w("replayed")(await call("quarantine/replay", { all: true })); } catch (e) { $("saved").textContent = e.message; }
};
tabs.map = {
  said: drawOutcome,
  show() { $("mapClosed").hidden = !!token; $("mapOpen").hidden = !token; refresh(); },
  word() { if (m.codes.length) { const v = $("code").value; $("code").replaceChildren(...codeOptions()); $("code").value = v; } drawList(); if (m.shape) { drawRoles(); drawShape(); drawValues(); later(); } },
};
// The quarantine may be large, and changes seldom.
setInterval(() => { if (!document.hidden && (m.of !== "quarantine" || ++m.ticks % 7 === 0)) refresh().catch(() => {}); }, 1500);
