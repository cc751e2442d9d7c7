// A table of subjects: star, name, small curve, value, move. Movers, watch list and search results are such tables.
// Rows are made once and filled again: the values every frame, the order when the list says so.

import { arrow, direction, percent, price, shortId, signedUsd, usd, dateTime } from './format.js';
import { el, setAttribute, setClass, setText, svg } from './dom.js';
import { arrowKeys, oneTabStop } from './rows.js';
import { label } from './store.js';

const CURVE_WIDTH = 64;
const CURVE_HEIGHT = 18;
const CURVE_POINTS = 32;

/** A table of subjects. */
export class SubjectTable {
  /**
   * @param {object} options
   * @param {string} options.title
   * @param {string} options.nameColumn
   * @param {string} options.valueColumn
   * @param {string} options.dollars what the column of dollars means
   * @param {(key: string) => void} options.onSelect
   * @param {(subject: object) => void} options.onWatch
   * @param {import('./watch.js').WatchList} options.watch
   */
  constructor({ title, nameColumn, valueColumn, dollars, onSelect, onWatch, watch }) {
    this.onSelect = onSelect;
    this.onWatch = onWatch;
    this.watch = watch;
    this.rows = [];
    this.shown = new Map();
    this.selected = '';
    this.usdHead = el('th', { scope: 'col', class: 'num usd', text: 'Move $', title: dollars });
    this.percentHead = el('th', { scope: 'col', class: 'num pct', text: 'Move %' });
    this.body = el('tbody');
    this.blank = el('p', { class: 'blank', hidden: true });
    this.title = el('span', { text: title });
    this.note = el('span', { class: 'note' });
    this.table = el('table', { class: 'subjects' },
      el('caption', { class: 'hidden', text: title }),
      el('thead', {}, el('tr', {},
        el('th', { scope: 'col', class: 'star-cell' }, el('span', { class: 'hidden', text: 'Watch' })),
        el('th', { scope: 'col', text: nameColumn }),
        el('th', { scope: 'col', class: 'curve-cell' }, el('span', { class: 'hidden', text: 'Curve' })),
        el('th', { scope: 'col', class: 'num value', text: valueColumn }), this.usdHead, this.percentHead)),
      this.body);
    this.node = el('section', { class: 'list', 'aria-label': title },
      el('h3', { class: 'list-title' }, this.title, this.note), this.table, this.blank);
    arrowKeys(this.body, 'tr', { first: '.open' });
    this.body.addEventListener('click', (event) => {
      const row = this.rows.find((r) => r.node === event.target.closest('tr'));
      if (!row?.subject) return;
      if (event.target.closest('.star')) this.onWatch(row.subject);
      else this.onSelect(row.subject.key);
    });
  }

  /** Says which column orders the table. Null for none. @param {'usd' | 'pct' | null} unit */
  orderBy(unit) {
    setAttribute(this.usdHead, 'aria-sort', unit === 'usd' ? 'descending' : null);
    setAttribute(this.percentHead, 'aria-sort', unit === 'pct' ? 'descending' : null);
    setAttribute(this.table, 'data-unit', unit);
  }

  /**
   * Shows these subjects in this order.
   * @param {Array<{subject: object, base: number}>} entries
   * @param {number} start the begin of the curves, ms
   * @param {number} end
   * @param {string} blank what to say if there are none
   */
  show(entries, start, end, blank) {
    while (this.rows.length < entries.length) this.rows.push(this.addRow());
    this.shown.clear();
    for (let i = 0; i < this.rows.length; i++) {
      const row = this.rows[i];
      const entry = entries[i];
      row.node.hidden = !entry;
      row.subject = entry ? entry.subject : null;
      if (!entry) continue;
      row.base = entry.base;
      this.shown.set(entry.subject, row);
      this.paintName(row);
      this.paintValue(row);
      this.paintCurve(row, start, end);
    }
    this.table.hidden = entries.length === 0;
    this.blank.hidden = entries.length > 0;
    setText(this.blank, blank);
    oneTabStop(this.body, '.open');
  }

  /** Paints the values of the rows whose subjects changed. */
  paint(dirty) {
    for (const [subject, row] of this.shown) if (dirty.has(subject)) this.paintValue(row);
  }

  /** Marks the selected subject, and repeats the stars. */
  mark(selected) {
    this.selected = selected;
    for (const row of this.shown.values()) this.paintName(row);
  }

  addRow() {
    const row = { subject: null, base: NaN };
    row.star = el('button', { class: 'star', type: 'button', tabindex: '-1' });
    row.name = el('span', { class: 'name' });
    row.sub = el('span', { class: 'sub' });
    row.open = el('button', { class: 'open', type: 'button', tabindex: '-1' }, row.name, row.sub);
    row.line = svg('polyline', { points: '' });
    row.curve = svg('svg', { class: 'curve', viewBox: `0 0 ${CURVE_WIDTH} ${CURVE_HEIGHT}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' }, row.line);
    row.value = el('td', { class: 'num value' });
    row.usd = el('td', { class: 'num usd' });
    row.percent = el('td', { class: 'num pct' });
    row.node = el('tr', {}, el('td', { class: 'star-cell' }, row.star), el('th', { scope: 'row' }, row.open),
      el('td', { class: 'curve-cell' }, row.curve), row.value, row.usd, row.percent);
    this.body.append(row.node);
    return row;
  }

  paintName(row) {
    const { subject } = row;
    const name = label(subject);
    const watched = this.watch.has(subject.key);
    setText(row.name, name === subject.id ? shortId(name) : name);
    setText(row.sub, subject.kind === 'token' && subject.chain ? subject.chain : name === subject.id ? subject.kind : '');
    setAttribute(row.open, 'title', `${name} (${subject.id})`);
    setAttribute(row.open, 'aria-current', subject.key === this.selected ? 'true' : null);
    setClass(row.node, subject.key === this.selected ? 'selected' : '');
    setText(row.star, watched ? '★' : '☆');
    setAttribute(row.star, 'aria-pressed', String(watched));
    setAttribute(row.star, 'aria-label', `Watch ${name}`);
  }

  paintValue(row) {
    const { subject, base } = row;
    const { usd: dollars, percent: part } = Number.isFinite(base) ? subject.moveFrom(base) : { usd: NaN, percent: NaN };
    setText(row.value, subject.kind === 'token' ? price(subject.value) : usd(subject.value));
    setText(row.usd, signedUsd(dollars));
    setText(row.percent, Number.isFinite(part) ? `${arrow(part)} ${percent(part)}` : '–');
    setClass(row.percent, `num pct ${direction(part)}`);
    setClass(row.usd, `num usd ${direction(dollars)}`);
  }

  paintCurve(row, start, end) {
    const { subject } = row;
    const points = curve(subject, start, end);
    if (row.line.getAttribute('points') !== points) row.line.setAttribute('points', points);
    row.curve.setAttribute('class', `curve ${direction(subject.value - row.base)}`);
    if (subject.lastAt) setAttribute(row.value, 'title', `Last event ${dateTime(subject.lastAt)}`);
  }
}

/** The points of a small curve: what held at equal steps of the window. */
function curve(subject, start, end) {
  const from = Math.max(start, subject.times[0] ?? end);
  if (from >= end || subject.times.length < 2) return '';
  const step = (end - from) / (CURVE_POINTS - 1);
  const values = [];
  let low = Infinity;
  let high = -Infinity;
  for (let i = 0; i < CURVE_POINTS; i++) {
    const value = subject.valueAt(from + i * step);
    if (value < low) low = value;
    if (value > high) high = value;
    values.push(value);
  }
  const span = high - low || 1;
  return values.map((value, i) => {
    const x = (i * (CURVE_WIDTH - 2)) / (CURVE_POINTS - 1) + 1;
    const y = CURVE_HEIGHT - 2 - ((value - low) / span) * (CURVE_HEIGHT - 4);
    return `${x.toFixed(1)},${y.toFixed(1)}`;
  }).join(' ');
}
