// The road: a canvas behind the stations on which scans travel. It only draws;
// where a scan stands is the server's word. A scan moves at a pace that eyes can
// follow, so pictures may lag a second behind the numbers.

const size = 11, gap = 3.5, cell = size + gap;
const segment = 0.62; // seconds from one station to the next
const stages = ['--sent', '--disk', '--sync', '--ask', '--push', '--left'];
const pushed = 4, left = 5;

const ease = t => (t < 0.5 ? 2 * t * t : 1 - 2 * (1 - t) * (1 - t));

export class Road {
  constructor(way, canvas, words) {
    this.way = way; this.canvas = canvas; this.words = words;
    this.pen = canvas.getContext('2d');
    this.tokens = new Map(); this.pulses = [];
    this.up = true; this.waiting = [0, 0, 0, 0, 0];
    this.credit = [0, 0, 0, 0, 0];
    this.still = matchMedia('(prefers-reduced-motion: reduce)');
    this.dark = matchMedia('(prefers-color-scheme: dark)');
    new ResizeObserver(() => this.layout()).observe(way);
    this.dark.addEventListener('change', () => this.layout());
    document.addEventListener('visibilitychange', () => { if (!document.hidden) this.settle(); });
  }

  // layout reads where the stations are and which colours the page has.
  layout() {
    const box = this.way.getBoundingClientRect();
    const scale = window.devicePixelRatio || 1;
    this.width = box.width; this.height = box.height;
    this.canvas.width = Math.round(box.width * scale);
    this.canvas.height = Math.round(box.height * scale);
    this.pen.setTransform(scale, 0, 0, scale, 0, 0);
    this.points = [...this.way.querySelectorAll('.disc')].map(d => {
      const r = d.getBoundingClientRect();
      return { x: r.left - box.left + r.width / 2, y: r.top - box.top + r.height / 2 };
    });
    this.vertical = Math.abs(this.points[1].x - this.points[0].x) < 10;
    const style = getComputedStyle(document.documentElement);
    const colour = name => style.getPropertyValue(name).trim();
    this.colours = stages.map(colour);
    this.line = colour('--line'); this.alarm = colour('--alarm'); this.soft = colour('--soft'); this.panel = colour('--panel');
    this.font = style.fontFamily;
    this.wake();
  }

  setLink(up) { if (this.up !== up) { this.up = up; this.way.classList.toggle('cut', !up); this.wake(); } }
  setWaiting(list) { this.waiting = list; this.wake(); }

  reset(moves) {
    this.tokens.clear(); this.pulses = [];
    for (const m of moves) this.move(m);
    this.settle();
  }

  // move takes [token, stage].
  move([id, stage]) {
    let k = this.tokens.get(id);
    if (!k) {
      if (stage >= pushed) return;
      k = { id, at: 0, target: stage, late: (id * 0.37 % 1) * 0.4, born: 0, t: -1, passing: true, fade: 0, x: NaN, y: NaN, order: id };
      this.tokens.set(id, k);
    }
    k.target = Math.max(k.target, stage);
    this.wake();
  }

  // settle puts every scan where it belongs at once.
  settle() {
    for (const [id, k] of this.tokens) {
      if (k.target >= pushed) this.tokens.delete(id);
      else { k.at = k.target; k.t = -1; k.born = 1; k.late = 0; k.x = NaN; }
    }
    this.wake();
  }

  wake() {
    if (this.running || !this.points) return;
    this.running = true; this.last = performance.now();
    requestAnimationFrame(now => this.frame(now));
  }

  frame(now) {
    const dt = Math.max(0, Math.min(0.05, (now - this.last) / 1000)); // the first frame can lie before its request
    this.last = now;
    if (this.still.matches) this.settle();
    const moving = this.step(dt);
    this.draw();
    this.running = moving;
    if (moving) requestAnimationFrame(n => this.frame(n));
  }

  step(dt) {
    const piles = [[], [], [], [], []];
    let moving = this.pulses.length > 0;
    const flow = dt * 14 * (1 + this.tokens.size / 60); // what leaves a pile: a stream, not a heap
    this.credit = this.credit.map(c => Math.min(c + flow, 3));
    for (const k of this.tokens.values()) {
      if (k.late > 0) { k.late -= dt; moving = true; continue; }
      if (k.born < 1) { k.born = Math.min(1, k.born + dt * 4); moving = true; }
      if (k.t >= 0) { this.travel(k, dt); moving = true; }
      if (k.t < 0) {
        if (k.at < end(k)) { if (k.passing || this.mayDepart(k.at)) this.depart(k); moving = true; }
        else if (k.target >= pushed) { this.fadeOut(k, dt); moving = true; }
      }
      if (k.t < 0 && k.fade === 0) piles[k.at].push(k);
    }
    piles.forEach((pile, i) => { if (this.pile(i, pile, dt)) moving = true; });
    for (const p of this.pulses) p.age += dt * 1.6;
    this.pulses = this.pulses.filter(p => p.age < 1);
    return moving;
  }

  mayDepart(station) {
    if (this.credit[station] < 1) return false;
    this.credit[station]--;
    return true;
  }

  depart(k) {
    const p = this.points[k.at];
    k.fromX = Number.isNaN(k.x) ? p.x : k.x; k.fromY = Number.isNaN(k.y) ? p.y : k.y;
    k.t = 0; k.passing = false;
  }

  travel(k, dt) {
    k.t = Math.min(1, k.t + dt / segment);
    const a = this.points[k.at], b = this.points[k.at + 1], t = ease(k.t), u = 1 - t;
    const lane = ((k.id % 7) - 3) * 4 * Math.sin(Math.PI * t);
    k.x = u * u * k.fromX + 2 * u * t * (this.vertical ? a.x : (a.x + b.x) / 2) + t * t * b.x + (this.vertical ? lane : 0);
    k.y = u * u * k.fromY + 2 * u * t * (this.vertical ? (a.y + b.y) / 2 : a.y) + t * t * b.y + (this.vertical ? 0 : lane);
    if (k.t < 1) return;
    k.at++; k.t = -1; k.passing = k.at < end(k); k.order = performance.now() + k.id / 1e6;
  }

  fadeOut(k, dt) {
    if (k.fade === 0 && k.target === pushed && this.pulses.length < 12) this.pulses.push({ age: 0 });
    k.fade += dt * (k.target === pushed ? 3.5 : 1.4);
    if (k.target === left) { if (this.vertical) k.x += dt * 60; else k.y += dt * 46; }
    if (k.fade >= 1) this.tokens.delete(k.id);
  }

  // pile lays out what rests at a station, oldest first; true while it moves.
  pile(station, list, dt) {
    list.sort((a, b) => a.order - b.order);
    const spot = this.spots(station, list.length);
    let moving = false;
    list.forEach((k, i) => {
      const s = spot(i);
      k.hidden = !s;
      if (!s) return;
      if (Number.isNaN(k.x)) { k.x = s.x; k.y = s.y; return; }
      const pull = Math.min(1, dt * 9);
      if (Math.abs(s.x - k.x) + Math.abs(s.y - k.y) > 0.4) moving = true;
      k.x += (s.x - k.x) * pull; k.y += (s.y - k.y) * pull;
    });
    return moving;
  }

  // spots returns the place of the i-th of n scans that rest at a station; null
  // where there is no room left: the number beside the pile tells all.
  spots(station, n) {
    const p = this.points[station];
    if (this.vertical) {
      const x0 = Math.min(this.width - 14 - 7 * cell, Math.max(this.width * 0.66, p.x + 190));
      const columns = Math.max(3, Math.floor((this.width - 14 - x0) / cell)), rows = 3;
      return i => (i < columns * rows ? { x: x0 + (i % columns) * cell + cell / 2, y: p.y + 20 - Math.floor(i / columns) * cell } : null);
    }
    const widest = Math.max(5, Math.floor((this.width / 5 - 34) / cell));
    const columns = Math.min(widest, Math.max(5, Math.ceil(Math.sqrt(n * 1.6)))), rows = Math.floor((p.y - 86) / cell);
    return i => {
      if (i >= columns * rows) return null;
      const row = Math.floor(i / columns), inRow = Math.min(columns, n - row * columns);
      return { x: p.x + (i % columns - (inRow - 1) / 2) * cell, y: p.y - 42 - row * cell };
    };
  }

  draw() {
    const pen = this.pen;
    pen.clearRect(0, 0, this.width, this.height);
    this.drawRoad(pen);
    this.drawWaiting(pen);
    for (const k of this.tokens.values()) if (!k.hidden || k.t >= 0) this.drawToken(pen, k);
    this.drawPulses(pen);
  }

  drawRoad(pen) {
    pen.lineWidth = 5; pen.lineCap = 'round';
    for (let i = 0; i < 4; i++) {
      const a = this.points[i], b = this.points[i + 1], cut = i === 1 && !this.up;
      const dx = Math.sign(Math.round(b.x - a.x)) * 31, dy = Math.sign(Math.round(b.y - a.y)) * 31;
      pen.strokeStyle = cut ? this.alarm : this.line;
      pen.setLineDash(cut ? [2, 10] : []);
      pen.beginPath(); pen.moveTo(a.x + dx, a.y + dy); pen.lineTo(b.x - dx, b.y - dy); pen.stroke();
    }
    pen.setLineDash([]);
    this.drawUplink(pen);
  }

  // drawUplink names the way between depot and the others, crossed out when cut.
  drawUplink(pen) {
    const a = this.points[1], b = this.points[2], x = (a.x + b.x) / 2, y = (a.y + b.y) / 2;
    if (!this.up) {
      pen.fillStyle = this.panel; pen.beginPath(); pen.arc(x, y, 13, 0, 7); pen.fill();
      pen.strokeStyle = this.alarm; pen.lineWidth = 2; pen.beginPath(); pen.arc(x, y, 13, 0, 7); pen.stroke();
      pen.beginPath(); pen.moveTo(x - 4.5, y - 4.5); pen.lineTo(x + 4.5, y + 4.5); pen.moveTo(x + 4.5, y - 4.5); pen.lineTo(x - 4.5, y + 4.5); pen.stroke();
    }
    pen.fillStyle = this.up ? this.soft : this.alarm;
    pen.font = `${this.up ? 400 : 650} 12px ${this.font}`;
    pen.textAlign = this.vertical ? 'left' : 'center';
    pen.fillText(this.words(this.up ? 'uplink' : 'uplinkCut'), this.vertical ? x + 22 : x, this.vertical ? y + 4 : y + 32);
  }

  drawWaiting(pen) {
    pen.font = `650 14px ${this.font}`;
    const piles = [0, 0, 0, 0, 0];
    for (const k of this.tokens.values()) if (k.t < 0 && k.fade === 0 && !k.hidden) piles[k.at] = Math.min(piles[k.at], k.y - this.points[k.at].y);
    this.waiting.forEach((n, i) => {
      if (n < 3 || piles[i] === 0 && !this.vertical) return;
      pen.fillStyle = this.colours[i];
      const p = this.points[i];
      pen.textAlign = this.vertical ? 'right' : 'center';
      if (this.vertical) pen.fillText(String(n), this.width - 14, p.y + 42);
      else pen.fillText(String(n), p.x, p.y + piles[i] - 13);
    });
  }

  drawToken(pen, k) {
    if (Number.isNaN(k.x)) return;
    const grown = 0.4 + 0.6 * k.born, s = size * grown * (k.target === pushed ? 1 + k.fade * 0.5 : 1);
    pen.globalAlpha = (1 - k.fade) * k.born;
    pen.fillStyle = this.colours[k.fade > 0 ? k.target : k.at];
    pen.beginPath(); pen.roundRect(k.x - s / 2, k.y - s / 2, s, s, 2.6); pen.fill();
    pen.globalAlpha *= 0.45; pen.fillStyle = this.panel;
    pen.fillRect(k.x - s * 0.09, k.y - s / 2, s * 0.18, s);
    pen.globalAlpha = 1;
  }

  drawPulses(pen) {
    const p = this.points[pushed];
    pen.lineWidth = 2; pen.strokeStyle = this.colours[pushed];
    for (const q of this.pulses) {
      pen.globalAlpha = (1 - q.age) * 0.4;
      pen.beginPath(); pen.arc(p.x, p.y, 24 + q.age * 16, 0, 7); pen.stroke();
    }
    pen.globalAlpha = 1;
  }
}

// end is the last station that a scan goes to: one that ends without a message
// leaves from the centre, or from where it already is.
const end = k => (k.target === left ? Math.max(k.at, 2) : k.target);
