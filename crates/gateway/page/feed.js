// The live feed. Events may come at 100 a second; a person reads some four. So rows enter together, once a second at
// most: the four most important, and a line that counts the rest. A pause shows all that the list of the newest holds.

import { arrow, count, dateTime, describeChanges, direction, duration, percent, plural, price, shortId, signedUsd, usd } from './format.js';
import { byId, el, setAttribute, setClass, setText } from './dom.js';
import { Hold } from './hold.js';
import { arrowKeys, oneTabStop } from './rows.js';
import { label } from './store.js';

const FLUSH_MS = 1_000;
const FRESH_MS = 1_500;
const ROWS_A_FLUSH = 4;
const MAX_ROWS = 60;
const MAX_ROWS_PAUSED = 240;
const MAX_PENDING = 400;
const TAGS = { tvl: 'TVL', price: 'Price', update: 'Update' };
const PRIORITIES = ['low', 'medium', 'high'];

// Updates have no size, so each kind has a weight of its own. A change of status has high priority anyway.
const UPDATE_WEIGHTS = { status: 0.9, chain_removed: 0.5, chain_added: 0.5, category: 0.3, metadata: 0.1 };
const HALF_USD = 250e3;
const FULL_PERCENT = 20;
const UNKNOWN_USD = 50e3;

/**
 * How much an event deserves one of the few rows: high priority first, then by dollars and per cent together. Dollars
 * alone would show nothing but bitcoin, per cent alone nothing but dust.
 */
export function weight(item) {
  const urgent = item.priority === 2 ? 2 : 0;
  if (item.kind === 'update') return urgent + (UPDATE_WEIGHTS[item.updateType] ?? 0.1);
  const dollars = Number.isFinite(item.usd) ? Math.abs(item.usd) : UNKNOWN_USD;
  const part = Math.min(1, Math.abs(item.percent) / FULL_PERCENT) || 0;
  return urgent + (dollars / (dollars + HALF_USD)) * (0.05 + part);
}

/** The test of the filters. @param {Record<string, string>} choices @param {{has(key: string): boolean}} watch */
export function filter(choices, watch) {
  const types = choices.types.split(',');
  const least = PRIORITIES.indexOf(choices.priority);
  const query = choices.q.trim().toLowerCase();
  const { chain, watched } = choices;
  return (item) => types.includes(item.kind) && item.priority >= least && (!watched || watch.has(item.subject.key)) &&
    (!chain || (chain === 'total' ? !(item.kind === 'tvl' && item.chain) : item.chain === chain)) &&
    (!query || item.subject.searchText.includes(query));
}

/** The region of the feed. */
export class Feed {
  /** @param {object} context store, watch, choices, now, select, schedule, loading, paused */
  constructor(context) {
    this.context = context;
    this.body = byId('feed-body');
    this.listNode = byId('feed-list');
    this.blank = byId('feed-blank');
    this.newer = byId('newer');
    this.foot = byId('feed-foot');
    this.hold = new Hold(this.body);
    this.pending = [];
    this.skipped = 0;
    this.waiting = 0;
    this.flushedAt = -Infinity;
    this.timer = 0;
    /** Rows on show, newest first, and rows to use again. */
    this.rows = [];
    this.spare = [];
    this.byNode = new WeakMap();
    this.passes = () => true;
    arrowKeys(this.listNode, 'li', { first: '.open' });
    this.listNode.addEventListener('click', (event) => {
      const row = this.byNode.get(event.target.closest('li'));
      if (row?.item) context.select(row.item.subject.key);
    });
    this.newer.addEventListener('click', () => {
      this.body.scrollTop = 0;
      this.scrolled = false;
      this.hold.pointedAt = -Infinity;
      this.refill();
    });
    // Kept, since asking in a frame that has written already would force a layout.
    this.scrolled = false;
    this.body.addEventListener('scroll', () => {
      this.scrolled = this.body.scrollTop > 4;
      if (!this.scrolled && this.waiting) context.schedule();
    }, { passive: true });
  }

  /** Takes a new event; it is shown with the next lot. */
  offer(item) {
    if (!this.passes(item)) return;
    this.waiting++;
    if (this.context.paused()) return;
    this.pending.push(item);
    if (this.pending.length > MAX_PENDING) {
      this.pending.shift();
      this.skipped++;
    }
    // What comes between the end of the wait and the frame still belongs to this lot.
    if (this.timer || this.due) return;
    // Rows that come seldom enter at once. A hidden page paints nothing, so the lot waits there.
    const wait = Math.max(0, this.flushedAt + FLUSH_MS - performance.now());
    this.timer = setTimeout(() => {
      this.timer = 0;
      this.due = true;
      this.context.schedule();
    }, wait);
  }

  /** Whether the reader is busy with the rows that are there. */
  get held() {
    return this.scrolled || this.hold.active;
  }

  /** Paints in a frame. */
  paint() {
    if (!this.due) return;
    if (this.held) {
      this.paintNewer();
      return;
    }
    this.due = false;
    this.flush();
    this.paintNewer();
  }

  flush() {
    const lot = this.pending;
    if (!lot.length) return;
    this.flushedAt = performance.now();
    let chosen = lot;
    let rest = this.skipped;
    if (lot.length > ROWS_A_FLUSH) {
      chosen = [...lot].sort((a, b) => weight(b) - weight(a)).slice(0, ROWS_A_FLUSH).sort((a, b) => lot.indexOf(a) - lot.indexOf(b));
      rest += lot.length - ROWS_A_FLUSH;
      const span = Math.max(1, Math.round((lot.at(-1).at - lot[0].at) / 1000));
      const high = lot.filter((item) => item.priority === 2 && !chosen.includes(item)).length;
      this.insertMore(rest, span, high, lot.at(-1).at);
    }
    this.fade();
    for (const item of chosen) this.insert(item, true);
    this.pending = [];
    this.skipped = 0;
    this.waiting = 0;
    this.trim(MAX_ROWS);
    this.settle();
  }

  /** Shows the newest events again, for example after another choice. A pause shows all of them. */
  refill() {
    const { store, choices, watch } = this.context;
    this.passes = filter(choices, watch);
    this.pending = [];
    this.skipped = 0;
    this.waiting = 0;
    this.due = false;
    const pause = this.context.paused();
    // During a pause the newest events are those of its begin, whatever came since.
    const items = pause ? pause.items.filter(this.passes).slice(0, MAX_ROWS_PAUSED) : store.newest(MAX_ROWS, this.passes);
    // Frees the rows first, so that a page of 240 rows does not become one of 480.
    this.trim(0);
    for (const item of items.reverse()) this.insert(item, false);
    this.settle();
    this.paintNewer();
  }

  /** Takes the tint from the rows that are no longer the newest lot. */
  fade() {
    for (const row of this.rows) {
      if (row.fresh) {
        row.fresh = false;
        if (row.item) row.node.classList.remove('fresh');
      }
    }
  }

  settle() {
    const none = this.rows.length === 0;
    this.listNode.hidden = none;
    this.blank.hidden = !none;
    if (none) {
      const narrowed = this.context.narrowed();
      setText(this.blank, this.context.loading() ? 'Waiting for the first events…'
        : narrowed ? 'No recent event passes these filters. New ones show up here.'
          : 'No event yet. New ones show up here as soon as they are published.');
    }
    oneTabStop(this.listNode, '.open');
    this.tick();
  }

  trim(limit) {
    while (this.rows.length > limit) {
      const row = this.rows.pop();
      row.item = null;
      row.node.remove();
      if (this.spare.length < MAX_ROWS) this.spare.push(row);
    }
  }

  insert(item, fresh) {
    const row = this.take();
    row.item = item;
    row.at = item.at;
    this.fill(row, fresh);
    this.listNode.prepend(row.node);
    this.rows.unshift(row);
  }

  insertMore(n, seconds, high, at) {
    const row = this.take();
    row.item = null;
    row.at = at;
    setClass(row.node, 'more');
    row.event.hidden = true;
    row.more.hidden = false;
    const where = seconds === 1 ? 'in this second' : `in these ${seconds} seconds`;
    setText(row.more, `${count(n)} more ${where}${high ? `, ${count(high)} of high priority` : ''}`);
    this.listNode.prepend(row.node);
    this.rows.unshift(row);
  }

  take() {
    const used = this.spare.pop();
    if (used) return used;
    const row = { item: null, at: 0 };
    row.when = el('time', { class: 'when' });
    row.tag = el('span', { class: 'tag' });
    row.open = el('button', { class: 'open', type: 'button', tabindex: '-1' });
    row.chain = el('span', { class: 'chain' });
    row.badge = el('span', { class: 'badge' });
    row.what = el('span', { class: 'what' });
    row.percent = el('span', { class: 'pct' });
    row.usd = el('span', { class: 'usd' });
    row.event = el('div', { class: 'event' }, row.when, el('div', { class: 'who' }, row.open, row.chain, row.badge), row.percent,
      row.tag, row.what, row.usd);
    row.more = el('p', { hidden: true });
    row.node = el('li', {}, row.event, row.more);
    this.byNode.set(row.node, row);
    return row;
  }

  fill(row, fresh) {
    const { item } = row;
    const { subject, kind } = item;
    const name = label(subject);
    row.fresh = fresh;
    row.event.hidden = false;
    row.more.hidden = true;
    setClass(row.node, `${PRIORITIES[item.priority]}${fresh ? ' fresh' : ''}`);
    setText(row.tag, TAGS[kind]);
    setClass(row.tag, `tag ${kind}`);
    setText(row.open, name === subject.id ? shortId(name) : name);
    setAttribute(row.open, 'title', `${name} (${subject.id})`);
    setText(row.chain, item.chain);
    const urgency = item.priority === 2 ? 'High' : item.priority === 1 ? 'Medium' : '';
    // A signal says what the move looks like, and why it is unusual.
    const { signal } = item;
    setText(row.badge, [urgency, signal ? `${signal.kind} ${signal.score}` : ''].filter(Boolean).join(' · '));
    setAttribute(row.badge, 'title', signal ? signal.reason : '');
    row.badge.hidden = item.priority === 0 && !signal;
    setAttribute(row.when, 'title', `Published ${dateTime(item.at)}, changed ${dateTime(item.changedAt)}`);
    if (kind === 'update') {
      setText(row.what, describeChanges(item.changes));
      setText(row.percent, '');
      setText(row.usd, '');
    } else {
      const value = kind === 'tvl' ? usd : price;
      setText(row.what, `${value(item.before)} → ${value(item.now)}`);
      setText(row.percent, `${arrow(item.percent)} ${percent(item.percent)}`);
      setText(row.usd, kind === 'tvl' ? signedUsd(item.usd) : '');
    }
    setClass(row.percent, `pct ${direction(item.percent)}`);
    setClass(row.usd, `usd ${direction(item.usd)}`);
  }

  /** The button that says what waits while the list is held. */
  paintNewer() {
    const show = this.waiting > 0 && this.held && !this.context.paused();
    this.newer.hidden = !show;
    if (show) setText(this.newer, `↑ ${plural(this.waiting, 'newer event')}`);
  }

  /** Once a second: ages, and what waits. */
  tick() {
    const now = this.context.now();
    for (const row of this.rows) if (row.item) setText(row.when, duration(now - row.at));
    if (performance.now() - this.flushedAt > FRESH_MS) this.fade();
    if (this.due) this.context.schedule();
    this.paintFoot();
  }

  paintFoot() {
    setText(this.foot, this.context.paused() ? `Paused · the newest ${plural(this.rows.length, 'event')} before the pause`
      : this.held && this.waiting ? 'Waiting while you read' : 'Up to 4 a second, the most important first · pause for all');
  }
}
