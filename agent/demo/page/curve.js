// The curve of how much waits, over the last two minutes.
const span = 120_000, width = 600, height = 120, top = 8;

export class Curve {
  constructor(svg, most) {
    this.area = svg.querySelector('.area'); this.line = svg.querySelector('.line');
    this.most = most; this.samples = [];
  }

  reset(samples) { this.samples = samples.slice(); this.draw(); }

  add(samples) { this.samples.push(...samples); this.draw(); }

  draw() {
    if (!this.samples.length) return;
    const now = this.samples[this.samples.length - 1][0];
    this.samples = this.samples.filter(s => s[0] >= now - span);
    const begin = Math.min(this.samples[0][0], now - 20_000), high = Math.max(...this.samples.map(s => s[1]));
    const x = t => ((t - begin) / (now - begin)) * width, y = n => height - (n / Math.max(high, 10)) * (height - top);
    const points = this.samples.map(s => `${x(s[0]).toFixed(1)},${y(s[1]).toFixed(1)}`);
    this.line.setAttribute('d', `M${points.join('L')}`);
    this.area.setAttribute('d', `M${x(this.samples[0][0]).toFixed(1)},${height}L${points.join('L')}L${width},${height}Z`);
    this.most(high);
  }
}
