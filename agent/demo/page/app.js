// The page of `scanrelay demo`: takes frames from the server (server-sent
// events) and shows them. It asks for nothing from anywhere else.
import { actionShort, city, language, number, setLanguage, t, translate } from './words.js';
import { Road } from './way.js';
import { Phone, element } from './phone.js';
import { Curve } from './curve.js';

const $ = id => document.getElementById(id);
const road = new Road($('way'), $('road'), t);
const phone = new Phone($('cards'));
let highest = 0;
const curve = new Curve($('curve'), n => { highest = n; put('curve-max', n ? number(n) : t('none')); });

let last = null; // the newest frame
let rows = [];
let catching = false; // after a cut, until what piled up is gone
let gone = false;
const shown = {};

// put changes a text only where it differs, so that nothing is repainted or
// read aloud for no reason.
function put(id, text) {
  if (shown[id] === text) return;
  shown[id] = text;
  $(id).textContent = text;
}

const waiting = f => f.wait.unsynced + f.wait.awaiting_waybill + f.wait.to_push;

function take(f) {
  if (f.full) {
    road.reset(f.moves || []); phone.reset(f.cards || []); curve.reset(f.samples || []);
  } else {
    for (const m of f.moves || []) road.move(m);
    phone.add(f.cards || []);
    if (f.samples) curve.add(f.samples);
  }
  if (f.rows) rows = f.rows;
  if (!f.link.up) catching = true;
  else if (waiting(f) < 12) catching = false;
  last = f; gone = f.bye === true;
  show(f);
}

function show(f) {
  road.setLink(f.link.up);
  road.setWaiting([0, f.wait.unsynced, f.wait.awaiting_waybill + f.wait.to_push, 0, 0]);
  f.reached.forEach((n, i) => put(`reached${i}`, number(n)));
  const scale = Math.max(20, f.wait.unsynced, f.wait.awaiting_waybill, f.wait.to_push);
  for (const k of ['unsynced', 'awaiting_waybill', 'to_push']) {
    put(`wait-${k}`, number(f.wait[k]));
    $(`bar-${k}`).style.width = `${(100 * f.wait[k]) / scale}%`;
  }
  for (const k of ['pushed', 'not_bound', 'superseded', 'other']) put(`out-${k}`, number(f.outcome[k]));
  for (const k of ['received', 'duplicate', 'ignored', 'rejected']) put(`in-${k}`, number(f.intake[k]));
  put('parcel-count', t('parcelCount', number(f.parcels.begun), number(f.parcels.ended), number(f.parcels.total)));
  put('clock', new Date().toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' }));
  $('cut').disabled = !f.can_cut;
  document.body.dataset.phase = f.phase;
  showRows();
  banner(...mood(f));
}

// mood returns the banner's tone, its sentence and the number beside it.
function mood(f) {
  if (f.phase === 'done') return f.result.ok ? ['done', t('done')] : ['bad', `${t('failed')} ${f.result.text}`];
  if (gone) return ['gone', t('lost')];
  if (f.phase === 'starting') return ['busy', t('starting')];
  if (!f.link.up) return ['cut', t('down'), t('downMore', number(waiting(f)), Math.ceil((f.link.back || 0) / 1000))];
  if (catching) return ['busy', t('catching'), t('catchingMore', number(waiting(f)))];
  if (f.phase === 'draining') return ['busy', t('draining'), t('catchingMore', number(waiting(f)))];
  return ['calm', t('calm')];
}

function banner(tone, text, more = '') {
  $('banner').dataset.mood = tone;
  put('banner-text', text);
  put('banner-more', more);
}

// showRows redraws only parcels that changed.
function showRows() {
  const list = $('rows');
  rows.forEach((r, i) => {
    const mark = language + JSON.stringify(r);
    const old = list.children[i];
    if (old && old.dataset.mark === mark) return;
    if (old && old.dataset.waybill === r.waybill && old.dataset.mark.slice(0, 2) === language) {
      r.nodes.forEach(([, stage], j) => setStage(old.lastElementChild.children[j], stage));
      old.dataset.mark = mark;
      return;
    }
    const row = drawRow(r);
    row.dataset.mark = mark; row.dataset.waybill = r.waybill;
    if (old) old.replaceWith(row); else list.append(row);
  });
}

function drawRow(r) {
  const path = element('span', { class: 'path' });
  for (const [type, stage] of r.nodes) {
    const pip = element('span', {}, element('i', { 'aria-hidden': 'true' }), actionShort(type));
    setStage(pip, stage);
    path.append(pip);
  }
  return element('li', {}, element('span', { class: 'id' }, r.waybill), element('span', { class: 'city' }, t('to', city(r.to))), path);
}

function setStage(pip, stage) {
  if (stage < 0) delete pip.dataset.stage; else pip.dataset.stage = stage;
}

function listen() {
  const source = new EventSource('events');
  source.onmessage = e => {
    const f = JSON.parse(e.data);
    if (f.bye) source.close();
    take(f);
  };
  source.onerror = () => { gone = true; if (last) show({ ...last, can_cut: false }); };
}

function speak(l) {
  if (l) setLanguage(l);
  translate();
  phone.redraw();
  put('curve-max', highest ? number(highest) : t('none'));
  road.layout();
  if (last) show(last); else banner('busy', t('starting'));
}

for (const b of document.querySelectorAll('[data-lang]')) b.addEventListener('click', () => speak(b.dataset.lang));
$('cut').addEventListener('click', () => { $('cut').disabled = true; fetch('cut', { method: 'POST' }); });

speak();
listen();
