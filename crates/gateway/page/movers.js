// The left region: biggest movers, the watch list, or what the search found. Values follow every frame; the order
// changes at most every two seconds, and not while somebody aims at a row.

import { clock, plural } from './format.js';
import { byId, el, setText } from './dom.js';
import { Hold } from './hold.js';
import { SubjectTable } from './table.js';
import { WINDOWS } from './url.js';

const SORT_MS = 2_000;
const ROW_HEIGHT = 33;
const HEAD_HEIGHT = 66;
const MAX_FOUND = 60;
const WORDS = { '5m': '5 minutes', '15m': '15 minutes', '1h': 'hour', '4h': '4 hours', '24h': '24 hours' };

/** The region of movers. */
export class Movers {
  /** @param {object} context store, watch, choices, now, select, toggleWatch, openUnknown */
  constructor(context) {
    this.context = context;
    this.body = byId('lists');
    this.foot = byId('movers-foot');
    this.hold = new Hold(this.body);
    this.sortedAt = 0;
    this.height = 600;
    const common = { watch: context.watch, onSelect: context.select, onWatch: context.toggleWatch };
    const table = (title, nameColumn, valueColumn, dollars) => new SubjectTable({ ...common, title, nameColumn, valueColumn, dollars });
    this.tvl = table('TVL', 'Protocol', 'TVL', 'Change of TVL in the window');
    this.prices = table('Prices', 'Token', 'Price', 'Change of the market value in the window');
    this.list = table('Watch list', 'Name', 'Value', 'Change of TVL, or of the market value of a token');
    this.lookUp = el('div', { class: 'look-up', hidden: true });
    this.body.append(this.tvl.node, this.prices.node, this.list.node, this.lookUp);
    new ResizeObserver(([entry]) => {
      this.height = entry.contentRect.height;
      this.sortedAt = 0;
      context.schedule();
    }).observe(this.body);
  }

  get tables() {
    return [this.tvl, this.prices, this.list];
  }

  /** Shows the choices at once. */
  refresh() {
    this.sortedAt = 0;
    this.paint(new Set());
  }

  /** Paints what changed; sorts if it is time. */
  paint(dirty) {
    const now = performance.now();
    if (this.sortedAt && (now - this.sortedAt < SORT_MS || this.hold.active)) {
      for (const table of this.tables) table.paint(dirty);
      return;
    }
    this.sortedAt = now;
    this.sort();
  }

  sort() {
    const { store, choices, loading } = this.context;
    const end = this.context.now();
    const start = end - WINDOWS[choices.window];
    const query = choices.q.trim();
    const movers = !query && choices.view === 'movers';
    const both = choices.kind === 'all';
    this.tvl.node.hidden = !movers || choices.kind === 'price';
    this.prices.node.hidden = !movers || choices.kind === 'tvl';
    this.list.node.hidden = movers;
    if (movers) {
      const limit = this.fit(both ? 2 : 1);
      const blank = loading() ? 'Waiting for the first events…' : `No move of at least $10,000 in the last ${WORDS[choices.window]}.`;
      for (const [table, kind] of [[this.tvl, 'protocol'], [this.prices, 'token']]) {
        if (table.node.hidden) continue;
        table.orderBy(choices.unit);
        table.show(store.movers({ kind, start, unit: choices.unit, limit }), start, end, blank);
      }
      this.lookUp.hidden = true;
    } else {
      this.showList(query, start, end);
    }
    for (const table of this.tables) table.mark(choices.subject);
    this.paintFoot(start);
  }

  /** As many rows as fill the region, and rows as high as fill it without a rest. */
  fit(lists) {
    const room = this.height / lists - HEAD_HEIGHT;
    const rows = Math.max(8, Math.min(60, Math.floor(room / ROW_HEIGHT)));
    const height = Math.floor(room / rows);
    if (height >= ROW_HEIGHT && height < ROW_HEIGHT * 1.5) this.body.style.setProperty('--row', `${height}px`);
    else this.body.style.removeProperty('--row');
    return rows;
  }

  showList(query, start, end) {
    const { store, watch, choices } = this.context;
    let subjects;
    let blank;
    if (query) {
      subjects = store.search(query, MAX_FOUND).filter((subject) => kindFits(subject, choices.kind));
      blank = `Nothing seen so far is called “${query}”.`;
      setText(this.list.note, subjects.length ? `${plural(subjects.length, 'match', 'matches')}` : '');
    } else {
      subjects = watch.keys().map((key) => this.context.known(key)).filter((subject) => subject && kindFits(subject, choices.kind));
      blank = watch.size ? 'Nothing of this kind is on your watch list.' : 'Your watch list is empty. Press a star, or w on a row, to add what you follow.';
      setText(this.list.note, '');
    }
    setText(this.list.title, query ? 'Found' : 'Watch list');
    this.list.orderBy(null);
    this.list.show(subjects.map((subject) => ({ subject, base: subject.valueAt(start) })), start, end, blank);
    this.showLookUp(query && subjects.length === 0 ? query : '');
  }

  /** An id that no event has named yet can still be opened: the gateway may know it. */
  showLookUp(query) {
    this.lookUp.hidden = !query;
    if (!query || this.lookUp.dataset.query === query) return;
    this.lookUp.dataset.query = query;
    this.lookUp.replaceChildren(...[['protocol', 'protocol id or slug'], ['token', 'token id']].map(([kind, words]) =>
      el('button', { class: 'button', type: 'button', text: `Open as ${words}`, onclick: () => this.context.select(`${kind}:${query}`) })));
  }

  /** The first subject on show, for Enter in the search box. */
  first() {
    for (const table of this.tables) {
      if (!table.node.hidden) for (const row of table.rows) if (row.subject) return row.subject.key;
    }
    return null;
  }

  /** The subject of the row that holds a node. */
  subjectOf(node) {
    const tr = node.closest?.('tr');
    for (const table of this.tables) for (const row of table.rows) if (row.node === tr) return row.subject;
    return null;
  }

  paintFoot(start) {
    const { store, choices } = this.context;
    const since = store.completeSince;
    let text = choices.view === 'movers' && !choices.q ? 'Moves of at least $10,000' : `Moves in the last ${WORDS[choices.window]}`;
    // Says so if the window reaches further back than what this tab knows.
    if (since > start + 1000) text += ` · known since ${clock(since, false)}`;
    setText(this.foot, text);
  }
}

function kindFits(subject, kind) {
  return kind === 'all' || (kind === 'tvl') === (subject.kind === 'protocol');
}
