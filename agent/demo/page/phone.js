// The phone: some of the messages, as receivers see them. It takes one at a
// time, always the newest, so that it can be read when hundreds come.
import { action, city, language, t } from './words.js';

const pause = 1100, most = 12;

export class Phone {
  constructor(list) {
    this.list = list; this.cards = []; this.next = null; this.timer = 0;
  }

  reset(cards) {
    this.cards = cards.slice(-6).reverse();
    this.next = null;
    this.redraw();
  }

  redraw() { this.list.replaceChildren(...this.cards.map(draw)); }

  add(cards) {
    if (cards.length) this.next = cards[cards.length - 1];
    if (this.next && !this.timer) this.show();
  }

  show() {
    this.timer = 0;
    if (!this.next) return;
    this.cards.unshift(this.next);
    this.list.prepend(draw(this.next));
    this.next = null;
    while (this.cards.length > most) { this.cards.pop(); this.list.lastElementChild.remove(); }
    this.timer = setTimeout(() => this.show(), pause);
  }
}

function element(name, attributes, ...children) {
  const e = document.createElement(name);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  e.append(...children);
  return e;
}

function draw(c) {
  const at = new Date(c.at).toLocaleTimeString(language === 'zh' ? 'zh-CN' : 'en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
  return element('li', {},
    element('p', { class: 'from' }, element('i', { 'aria-hidden': 'true' }), `${t('cardKind')} · ${c.phone}`, element('time', {}, at)),
    element('article', {},
      element('h3', {}, action(c.action)),
      element('p', { class: 'text', lang: 'zh-CN' }, c.text),
      element('dl', {},
        element('dt', {}, t('cardWaybill')), element('dd', {}, c.waybill),
        element('dt', {}, t('cardTo')), element('dd', {}, city(c.to))),
      element('p', { class: 'foot', 'aria-hidden': 'true' }, t('cardMore'), element('span', {}, '›'))));
}

export { element };
