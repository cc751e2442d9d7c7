// The right region: one protocol or token. Its figure follows every frame; its chart and lists once a second.

import { ago, arrow, dateTime, describeChanges, direction, duration, exactUsd, percent, plural, price, share, signedUsd, usd } from './format.js';
import { readEvents } from './api.js';
import { Chart } from './chart.js';
import { byId, el, setAttribute, setClass, setText } from './dom.js';
import { arrowKeys, oneTabStop } from './rows.js';
import { comparePositions, label, changePercent } from './store.js';
import { parseSubject, WINDOWS } from './url.js';

const SLOW_MS = 1_000;
const MAX_POINTS = 2_000;
const MAX_RECENT = 40;
// History and live events overlap by at most one page of the log.
const MAX_SEEN = 3_000;
const CHAINS_FIRST = 8;
const WORDS = { '5m': '5 min', '15m': '15 min', '1h': '1 h', '4h': '4 h', '24h': '24 h' };

/** The region of the selected subject. */
export class Detail {
  /** @param {object} context store, watch, choices, now, choose, toggleWatch, schedule, onResolved */
  constructor(context) {
    this.context = context;
    this.root = byId('detail');
    this.wanted = null;
    this.subject = null;
    this.build();
    this.select('');
  }

  build() {
    const { context } = this;
    this.empty = el('div', { class: 'blank tall' },
      el('p', { class: 'blank-title', text: 'Nothing selected' }),
      el('p', { text: 'Choose a protocol or a token in the movers or in the feed. Its value, its chart, its chains and its events show up here.' }));
    this.title = el('h2', { id: 'detail-title', text: 'Detail' });
    this.sub = el('p', { class: 'detail-sub' });
    const watch = () => this.subject && context.toggleWatch(this.subject);
    this.star = el('button', { class: 'star big', type: 'button', onclick: watch });
    const close = () => context.choose({ subject: '', part: '' }, true);
    this.close = el('button', {
      class: 'button square small', type: 'button', 'aria-label': 'Close the detail', title: 'Close', text: '✕', onclick: close,
    });
    this.head = el('div', { class: 'panel-head' },
      this.star, el('div', { class: 'detail-name' }, this.title, this.sub), el('span', { class: 'spring' }), this.close);

    this.part = el('p', { class: 'figure-name' });
    this.figure = el('p', { class: 'figure', id: 'figure' });
    this.move = el('p', { class: 'figure-move' });
    this.asOf = el('p', { class: 'figure-age' });
    this.message = el('p', { class: 'blank' });
    this.chart = new Chart();
    this.facts = el('dl', { class: 'facts' });

    this.chainBody = el('tbody');
    const unfold = () => {
      this.openChains = !this.openChains;
      this.paintSlow();
    };
    this.allChains = el('button', { class: 'button small', type: 'button', onclick: unfold });
    this.chains = el('section', { class: 'block' }, el('h3', { text: 'By chain' }),
      el('table', { class: 'chains' }, el('caption', { class: 'hidden', text: 'TVL by chain' }),
        el('thead', { class: 'hidden' }, el('tr', {}, ...['Chain', 'Part', 'TVL', 'Share'].map((text) => el('th', { scope: 'col', text })))), this.chainBody),
      this.allChains);
    this.chainRows = [];
    arrowKeys(this.chainBody, 'tr', { first: '.open' });

    this.recentBody = el('tbody');
    this.recentRows = [];
    this.recent = el('section', { class: 'block' }, el('h3', { text: 'Recent events' }),
      el('table', { class: 'recent' }, el('caption', { class: 'hidden', text: 'Recent events, newest first' }),
        el('thead', { class: 'hidden' }, el('tr', {}, ...['Age', 'Change', 'Move', 'Move $'].map((text) => el('th', { scope: 'col', text })))), this.recentBody));

    this.content = el('div', { class: 'content' },
      el('div', { class: 'figure-box' }, el('div', {}, this.part, this.figure), el('div', { class: 'figure-side' }, this.move, this.asOf)),
      this.chart.node, this.facts, this.chains, this.recent);
    // A token's detail holds no button, so the keyboard could not scroll it without a stop of its own.
    this.body = el('div', { class: 'panel-body', tabindex: '0', role: 'group', 'aria-label': 'Value, chart and events' }, this.empty, this.message, this.content);
    this.root.append(this.head, this.body);
  }

  /** Selects a subject by its key; empty for none. */
  select(key) {
    if (this.key === key) return;
    this.key = key;
    this.wanted = parseSubject(key);
    this.subject = null;
    this.series = new Map();
    this.events = [];
    this.seen = new Set();
    this.state = this.wanted ? 'loading' : 'none';
    this.openChains = false;
    this.slowAt = -Infinity;
    this.body.scrollTop = 0;
    this.paintAll();
    if (this.wanted) this.load();
  }

  /** The channel of the selected subject, or null. */
  get channel() {
    // A star at the end would make a pattern of it.
    return this.wanted && !this.wanted.id.endsWith('*') ? `events:${this.wanted.kind}:${this.wanted.id}` : null;
  }

  /** Finds the subject that is wanted: by its key, or a protocol by its slug. */
  resolve() {
    if (this.subject || !this.wanted) return;
    const { store } = this.context;
    const { kind, id } = this.wanted;
    let found = store.subjects.get(this.key);
    if (!found && kind === 'protocol') {
      for (const subject of store.subjects.values()) {
        if (subject.kind === 'protocol' && subject.slug === id) {
          found = subject;
          break;
        }
      }
    }
    if (!found) return;
    this.subject = found;
    this.state = 'known';
    this.stale = true;
    for (const item of store.newest(Infinity, (each) => each.subject === found).reverse()) this.take(item);
    if (found.key !== this.key) {
      this.key = found.key;
      this.context.onResolved(found.key);
    }
  }

  /** Reads the events that the log still holds, for the chart. */
  async load() {
    const { channel } = this;
    const answer = channel ? await readEvents({ channel, limit: 1000 }) : null;
    // Another subject may have been selected meanwhile. A slug may have become an id.
    if (this.channel !== channel || !this.wanted) return;
    for (const event of answer?.events ?? []) this.context.addPast(event);
    this.resolve();
    if (this.subject) for (const event of answer?.events ?? []) this.takeEvent(event);
    if (!this.subject) this.state = answer ? 'unknown' : this.context.connected() ? 'unknown' : 'loading';
    this.renew();
  }

  /** Paints all of it in the next frame, even during a pause: somebody asked for it. */
  renew() {
    this.stale = true;
    this.context.schedule();
  }

  /** Takes an event as the gateway sends it. */
  takeEvent(event) {
    const data = event?.data;
    if (!data || (data.tokenId ?? data.protocolId) !== this.subject.id) return;
    const tvl = event.eventType === 'tvl_change';
    this.take({
      id: event.eventId, position: event.position, at: Number.parseInt(event.position, 10), changedAt: event.timestamp, subject: this.subject,
      kind: tvl ? 'tvl' : event.eventType === 'price_update' ? 'price' : 'update', chain: data.chain || '',
      before: tvl ? data.previousTvl : data.previousPrice, now: tvl ? data.currentTvl : data.currentPrice,
      percent: data.changePercent, usd: tvl ? data.changeAbsolute : NaN, changes: data.changes, breakdown: data.breakdown,
    });
  }

  /** Takes an event of the selected subject: a point of a series, and a row of the recent ones. */
  take(item) {
    if (item.subject !== this.subject || this.seen.has(item.id)) return;
    this.seen.add(item.id);
    if (this.seen.size > MAX_SEEN) this.seen = new Set(this.events.map((event) => event.id));
    let i = this.events.length;
    while (i > 0 && comparePositions(this.events[i - 1].position, item.position) > 0) i--;
    if (i === this.events.length) this.events.push(item);
    else this.events.splice(i, 0, item);
    if (this.events.length > 2 * MAX_RECENT + 20) this.events.splice(0, this.events.length - 2 * MAX_RECENT);
    if (item.kind === 'update') return;
    insertPoint(this.seriesOf(item.kind === 'tvl' ? item.chain : ''), item.at, item.now, item.before);
    // The total tells its parts too, also those whose change was too small for an event.
    for (const [chain, value] of Object.entries(item.breakdown ?? {})) {
      if (!Number.isFinite(value)) continue;
      const series = this.seriesOf(chain);
      const before = seriesAt(series, item.at);
      if (before !== value) insertPoint(series, item.at, value, Number.isFinite(before) ? before : value);
    }
  }

  seriesOf(part) {
    let series = this.series.get(part);
    if (!series) this.series.set(part, (series = { times: [], values: [], before: [] }));
    return series;
  }

  /** Paints the figure in a frame; the rest once a second. */
  paint(dirty) {
    if (!this.wanted) return;
    if (!this.subject) {
      this.paintAll();
      return;
    }
    if (dirty.has(this.subject)) this.paintFigure();
    if (performance.now() - this.slowAt >= SLOW_MS) this.paintSlow();
  }

  /** Once a second. */
  tick() {
    if (this.subject) this.paintAges();
  }

  paintAll() {
    this.stale = false;
    this.resolve();
    const known = !!this.subject;
    this.empty.hidden = !!this.wanted;
    this.head.hidden = !this.wanted;
    this.content.hidden = !known;
    this.star.hidden = !known;
    this.paintMessage();
    if (!known) return;
    this.paintFigure();
    this.paintSlow();
  }

  paintMessage() {
    this.message.hidden = !this.wanted || !!this.subject;
    if (this.message.hidden) return;
    setText(this.title, this.wanted.id);
    setText(this.sub, this.wanted.kind === 'token' ? 'Token' : 'Protocol');
    setText(this.message, this.state === 'loading' ? 'Reading what is known…'
      : `Nothing is known about this ${this.wanted.kind} yet. Check the id, or wait here: its first event shows up at once.`);
  }

  /** Marks the star and the name. */
  paintHead() {
    const { subject } = this;
    if (!subject) return;
    const name = label(subject);
    const watched = this.context.watch.has(subject.key);
    setText(this.title, name);
    const category = typeof subject.meta?.category === 'string' ? subject.meta.category : '';
    const kind = subject.kind === 'token' ? 'Token' : 'Protocol';
    const id = name === subject.id ? '' : subject.id;
    setText(this.sub, [kind, category, subject.chain, subject.slug, id].filter(Boolean).join(' · '));
    setText(this.star, watched ? '★' : '☆');
    setAttribute(this.star, 'aria-pressed', String(watched));
    setAttribute(this.star, 'aria-label', `Watch ${name}`);
    setAttribute(this.star, 'title', watched ? 'On your watch list (w)' : 'Add to your watch list (w)');
  }

  get shownPart() {
    const { part } = this.context.choices;
    return this.subject.kind === 'protocol' && part && (this.subject.breakdown?.[part] !== undefined || this.series.has(part)) ? part : '';
  }

  paintFigure() {
    const { subject } = this;
    const { window } = this.context.choices;
    const part = this.shownPart;
    const start = this.context.now() - WINDOWS[window];
    const token = subject.kind === 'token';
    const value = part ? subject.breakdown?.[part] ?? this.series.get(part)?.values.at(-1) : subject.value;
    const base = part ? seriesAt(this.series.get(part), start) : subject.valueAt(start);
    const move = changePercent(base, value);
    setText(this.part, token ? 'Price' : part ? `TVL on ${part}` : 'TVL');
    setText(this.figure, !Number.isFinite(value) ? 'Not known yet' : token ? price(value) : exactUsd(value));
    const known = Number.isFinite(base) && Number.isFinite(value);
    const amount = token ? '' : ` ${signedUsd(value - base)}`;
    setText(this.move, known ? `${arrow(move)} ${percent(move)}${amount} in ${WORDS[window]}` : 'No move seen yet');
    setClass(this.move, `figure-move ${known ? direction(move) : 'flat'}`);
    this.paintAges();
  }

  paintAges() {
    const now = this.context.now();
    const { subject } = this;
    setText(this.asOf, subject.lastAt ? `Last event ${ago(now - subject.lastAt)}` : 'No event seen yet');
    setAttribute(this.asOf, 'title', subject.lastAt ? dateTime(subject.lastAt) : '');
    for (const row of this.recentRows) if (!row.node.hidden) setText(row.age, duration(now - row.at));
  }

  paintSlow() {
    this.slowAt = performance.now();
    if (!this.subject) return;
    this.paintHead();
    this.paintChart();
    this.paintFacts();
    this.paintChains();
    this.paintRecent();
    this.paintFigure();
  }

  paintChart() {
    const { subject } = this;
    const part = this.shownPart;
    const now = this.context.now();
    const start = now - WINDOWS[this.context.choices.window];
    const series = this.series.get(part);
    const times = [];
    const values = [];
    if (series?.times.length) {
      const known = series.times[0] <= start;
      times.push(known ? start : series.times[0] - 1);
      values.push(known ? seriesAt(series, start) : series.before[0]);
      for (let i = 0; i < series.times.length; i++) {
        if (series.times[i] > start) {
          times.push(series.times[i]);
          values.push(series.values[i]);
        }
      }
      // A value holds until the next one: the line reaches to now.
      if (now > times.at(-1)) {
        times.push(now);
        values.push(values.at(-1));
      }
    }
    const what = subject.kind === 'token' ? `the price of ${label(subject)}` : `the TVL of ${label(subject)}${part ? ` on ${part}` : ''}`;
    this.chart.show(times, values, { unit: subject.kind === 'token' ? 'price' : 'usd', what });
  }

  paintFacts() {
    const { subject } = this;
    const facts = [];
    if (subject.kind === 'token') {
      if (Number.isFinite(subject.marketCap)) facts.push(['Market value', usd(subject.marketCap)]);
      if (Number.isFinite(subject.volume)) facts.push(['Volume 24 h', usd(subject.volume)]);
      if (subject.chain) facts.push(['Chain', subject.chain]);
    } else if (subject.meta) {
      for (const [name, field] of [['Symbol', 'symbol'], ['Audits', 'audits']]) {
        const value = subject.meta[field];
        if ((typeof value === 'string' && value && value !== '-') || typeof value === 'number') facts.push([name, String(value)]);
      }
      for (const field of ['rugged', 'deprecated', 'deadUrl']) if (subject.meta[field] === true) facts.push(['Status', field]);
    }
    const text = JSON.stringify(facts);
    if (text === this.factsText) return;
    this.factsText = text;
    this.facts.hidden = !facts.length;
    this.facts.replaceChildren(...facts.map(([name, value]) => el('div', {}, el('dt', { text: name }), el('dd', { text: value }))));
  }

  paintChains() {
    const { breakdown } = this.subject;
    const parts = breakdown ? Object.entries(breakdown).filter(([, value]) => Number.isFinite(value)).sort((a, b) => b[1] - a[1]) : [];
    this.chains.hidden = !parts.length;
    if (!parts.length) return;
    const total = parts.reduce((sum, [, value]) => sum + Math.max(0, value), 0);
    const shown = this.openChains ? parts : parts.slice(0, CHAINS_FIRST);
    while (this.chainRows.length < shown.length) this.chainRows.push(this.addChainRow());
    const selected = this.shownPart;
    this.chainRows.forEach((row, i) => {
      const part = shown[i];
      row.node.hidden = !part;
      if (!part) return;
      const [chain, value] = part;
      row.chain = chain;
      setText(row.open, chain);
      setAttribute(row.open, 'aria-pressed', String(chain === selected));
      setAttribute(row.open, 'title', `Chart of ${chain}`);
      setClass(row.node, chain === selected ? 'selected' : '');
      row.bar.style.width = `${Math.max(0.5, (Math.max(0, value) / (parts[0][1] || 1)) * 100)}%`;
      setText(row.value, usd(value));
      setText(row.share, share(value, total));
    });
    this.allChains.hidden = parts.length <= CHAINS_FIRST;
    setText(this.allChains, this.openChains ? 'Show fewer' : `Show all ${plural(parts.length, 'chain')}`);
    setAttribute(this.allChains, 'aria-expanded', String(!!this.openChains));
    oneTabStop(this.chainBody, '.open');
  }

  addChainRow() {
    const row = { chain: '' };
    const choose = () => this.context.choose({ part: this.shownPart === row.chain ? '' : row.chain }, true);
    row.open = el('button', { class: 'open', type: 'button', tabindex: '-1', onclick: choose });
    row.bar = el('span', { class: 'bar' });
    row.value = el('td', { class: 'num' });
    row.share = el('td', { class: 'num share' });
    row.node = el('tr', {}, el('th', { scope: 'row' }, row.open), el('td', { class: 'bar-cell' }, row.bar), row.value, row.share);
    this.chainBody.append(row.node);
    return row;
  }

  paintRecent() {
    const items = this.events.slice(-MAX_RECENT).reverse();
    this.recent.hidden = !items.length;
    while (this.recentRows.length < items.length) this.recentRows.push(this.addRecentRow());
    this.recentRows.forEach((row, i) => {
      const item = items[i];
      row.node.hidden = !item;
      if (!item) return;
      row.at = item.at;
      setAttribute(row.age, 'title', dateTime(item.at));
      if (item.kind === 'update') {
        setText(row.what, describeChanges(item.changes, 4));
        setText(row.percent, '');
        setText(row.usd, '');
        return;
      }
      const written = item.kind === 'price' ? price : usd;
      setText(row.what, `${item.kind === 'tvl' ? `${item.chain || 'Total'}: ` : ''}${written(item.before)} → ${written(item.now)}`);
      setText(row.percent, `${arrow(item.percent)} ${percent(item.percent)}`);
      setClass(row.percent, `num ${direction(item.percent)}`);
      setText(row.usd, item.kind === 'tvl' ? signedUsd(item.usd) : '');
      setClass(row.usd, `num ${direction(item.usd)}`);
    });
  }

  addRecentRow() {
    const row = { at: 0 };
    row.age = el('td', { class: 'age' });
    row.what = el('td', { class: 'what' });
    row.percent = el('td', { class: 'num' });
    row.usd = el('td', { class: 'num' });
    row.node = el('tr', {}, row.age, row.what, row.percent, row.usd);
    this.recentBody.append(row.node);
    return row;
  }
}

/** Adds a point in order of time, and forgets the oldest when there are too many. */
function insertPoint({ times, values, before }, time, value, previous) {
  let i = times.length;
  while (i > 0 && times[i - 1] > time) i--;
  if (i > 0 && times[i - 1] === time) {
    values[i - 1] = value;
    return;
  }
  times.splice(i, 0, time);
  values.splice(i, 0, value);
  before.splice(i, 0, previous);
  if (times.length > MAX_POINTS) for (const list of [times, values, before]) list.splice(0, MAX_POINTS / 8);
}

/** The value of a series at a time; before its first point, the value before that. */
function seriesAt(series, time) {
  if (!series?.times.length) return NaN;
  const { times, values, before } = series;
  let i = times.length;
  while (i > 0 && times[i - 1] > time) i--;
  return i > 0 ? values[i - 1] : before[0];
}
