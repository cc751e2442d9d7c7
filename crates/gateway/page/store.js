// What the page knows: subjects (protocols and tokens) with their recent values, and the newest events. All of it is
// bounded. No DOM here, and no clock: times come from the positions of events, which the gateway's Redis gave.

/** Smallest move, USD, that the lists of movers show. */
export const MIN_MOVE_USD = 10_000;

const MAX_SUBJECTS = 5_000;
const MAX_EVENTS = 600;
const SEEN_GENERATION = 4_096;
const PRIORITIES = { low: 0, medium: 1, high: 2 };
const KINDS = { tvl_change: 'tvl', price_update: 'price', protocol_update: 'update' };

// Points are kept finely while they are young and coarsely when they are old: [age from, width of a bucket], ms.
const BUCKETS = [[4 * 3600e3, 900e3], [3600e3, 240e3], [300e3, 30e3], [0, 5e3]];
const COMPACT_AT = 64;
const MAX_POINT_AGE = 25 * 3600e3;

/** The time of a position such as `1764237600123-0`, ms. @param {string} position */
export function positionTime(position) {
  return Number.parseInt(position, 10);
}

/** Orders two positions. They are longer than a double holds, so the halves are compared. */
export function comparePositions(a, b) {
  if (a === b) return 0;
  const [ms1, n1 = 0] = a.split('-', 2).map(Number);
  const [ms2, n2 = 0] = b.split('-', 2).map(Number);
  return ms1 - ms2 || n1 - n2;
}

/** Signed change in per cent of the magnitude before, as the processor computes it. */
export function changePercent(before, now) {
  if (before === 0) return now === 0 ? 0 : now > 0 ? 100 : -100;
  return ((now - before) / Math.abs(before)) * 100;
}

/** What people call a subject. The id, if no event has told a name. */
export function label(subject) {
  return subject.name || subject.symbol || subject.slug || subject.id;
}

/** A protocol or a token. */
class Subject {
  constructor(kind, id) {
    this.key = `${kind}:${id}`;
    this.kind = kind;
    this.id = id;
    this.name = '';
    this.slug = '';
    this.symbol = '';
    this.chain = '';
    /** Total TVL or price, USD. */
    this.value = NaN;
    /** Position of the event that gave the value. */
    this.position = '0-0';
    /** Time of the newest event of any kind, ms. */
    this.lastAt = 0;
    this.marketCap = NaN;
    this.volume = NaN;
    this.breakdown = null;
    this.meta = null;
    // Two lists instead of one of objects: numbers without boxes.
    this.times = [];
    this.values = [];
    this.searchText = id.toLowerCase();
  }

  /** Adds the value at a time, in order. Equal times: the later call wins. */
  addPoint(time, value) {
    const { times, values } = this;
    let i = times.length;
    while (i > 0 && times[i - 1] > time) i--;
    if (i > 0 && times[i - 1] === time) {
      values[i - 1] = value;
    } else if (i === times.length) {
      times.push(time);
      values.push(value);
    } else {
      times.splice(i, 0, time);
      values.splice(i, 0, value);
    }
    if (times.length >= COMPACT_AT && times.length % 16 === 0) this.compact();
  }

  /** Keeps the last point of each bucket. Buckets are aligned to the clock, so that a second pass changes nothing. */
  compact() {
    const { times, values } = this;
    const newest = times[times.length - 1];
    let kept = 0;
    let bucket = NaN;
    for (let i = 0; i < times.length; i++) {
      const age = newest - times[i];
      if (age > MAX_POINT_AGE) continue;
      const width = BUCKETS.find(([from]) => age >= from)[1];
      const mine = Math.floor(times[i] / width) * width;
      if (mine !== bucket || kept === 0) kept++;
      bucket = mine;
      times[kept - 1] = times[i];
      values[kept - 1] = values[i];
    }
    times.length = kept;
    values.length = kept;
  }

  /** The value that held at a time: of the last point not after it, else of the first point. NaN without points. */
  valueAt(time) {
    const { times, values } = this;
    let low = 0;
    let high = times.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (times[middle] <= time) low = middle + 1;
      else high = middle;
    }
    return low > 0 ? values[low - 1] : values.length ? values[0] : NaN;
  }

  /**
   * The move from a base to the value now. A token's dollars are those of its market value, because a move of its
   * price by dollars says nothing about size; NaN if the market value is unknown.
   */
  moveFrom(base) {
    const { value } = this;
    const percent = changePercent(base, value);
    if (this.kind === 'protocol') return { usd: value - base, percent };
    return { usd: value === 0 ? NaN : (this.marketCap * (value - base)) / value, percent };
  }

  describe(data) {
    const { protocolName, protocolSlug, symbol, chain } = data;
    let changed = false;
    if (this.kind === 'protocol') {
      if (protocolName && protocolName !== this.name) changed = !!(this.name = protocolName);
      if (protocolSlug && protocolSlug !== this.slug) changed = !!(this.slug = protocolSlug);
    } else {
      if (symbol && symbol !== this.symbol) changed = !!(this.symbol = symbol);
      if (chain && chain !== this.chain) changed = !!(this.chain = chain);
    }
    if (changed) this.searchText = [this.id, this.name, this.slug, this.symbol].join('\n').toLowerCase();
  }
}

/** Subjects and events. */
export class Store {
  /** @param {{maxSubjects?: number, maxEvents?: number}} [limits] */
  constructor({ maxSubjects = MAX_SUBJECTS, maxEvents = MAX_EVENTS } = {}) {
    this.maxSubjects = maxSubjects;
    /** @type {Map<string, Subject>} */
    this.subjects = new Map();
    /** Keys that are never forgotten: what is watched or selected. */
    this.pinned = new Set();
    /** Subjects that changed since the page was painted. */
    this.dirty = new Set();
    this.chains = new Set();
    /** Position time of the newest event, and of the oldest one from which on nothing is missing. */
    this.newestAt = 0;
    this.completeSince = NaN;
    /** Time from the newest change to its publication, ms. */
    this.delay = NaN;
    this.total = 0;
    this.ring = new Array(maxEvents).fill(null);
    this.ringNext = 0;
    // Two generations of seen ids: when the young one is full it becomes the old one. Bounded, without a queue.
    this.young = new Set();
    this.old = new Set();
  }

  /** The subject with this key; created if it is unknown. */
  ensure(kind, id) {
    const key = `${kind}:${id}`;
    let subject = this.subjects.get(key);
    if (!subject) {
      if (this.subjects.size >= this.maxSubjects) this.forget();
      subject = new Subject(kind, id);
      this.subjects.set(key, subject);
    }
    return subject;
  }

  /** Drops the tenth of the subjects that has been silent for longest. */
  forget() {
    const idle = [...this.subjects.values()].filter((s) => !this.pinned.has(s.key)).sort((a, b) => a.lastAt - b.lastAt);
    for (const subject of idle.slice(0, Math.ceil(this.maxSubjects / 10))) {
      this.subjects.delete(subject.key);
      this.dirty.delete(subject);
    }
  }

  isNew(eventId) {
    if (this.young.has(eventId) || this.old.has(eventId)) return false;
    this.young.add(eventId);
    if (this.young.size >= SEEN_GENERATION) {
      this.old = this.young;
      this.young = new Set();
    }
    return true;
  }

  /**
   * Takes an event in. Returns what the feed shows of it, or null if it is a repetition or no event.
   * @param {object} event as the gateway sends it
   * @param {boolean} [past] true for events that are read afterwards: they do not enter the list of the newest
   */
  add(event, past = false) {
    const kind = KINDS[event?.eventType];
    const data = event?.data;
    if (!kind || !data || typeof event.position !== 'string') return null;
    // Reading the past changes nothing that is known already, so only what is live can be a repetition.
    if (!past && !this.isNew(event.eventId)) return null;
    const id = kind === 'price' ? data.tokenId : data.protocolId;
    if (typeof id !== 'string' || !id) return null;
    const subject = this.ensure(kind === 'price' ? 'token' : 'protocol', id);
    const at = positionTime(event.position);
    const newer = comparePositions(event.position, subject.position) > 0;
    if (newer || !subject.lastAt) subject.describe(data);
    subject.lastAt = Math.max(subject.lastAt, at);

    const item = {
      id: event.eventId, position: event.position, at, changedAt: event.timestamp, kind, subject, chain: data.chain || '',
      before: NaN, now: NaN, usd: NaN, percent: NaN, priority: PRIORITIES[event.metadata?.priority] ?? 0,
      updateType: '', changes: null, breakdown: data.breakdown ?? null, signal: event.metadata?.signal ?? null,
    };
    if (kind === 'update') {
      item.updateType = data.updateType;
      item.changes = data.changes;
    } else {
      item.before = kind === 'tvl' ? data.previousTvl : data.previousPrice;
      item.now = kind === 'tvl' ? data.currentTvl : data.currentPrice;
      item.percent = data.changePercent;
      const marketCap = data.marketCap ?? NaN;
      item.usd = kind === 'tvl' ? data.changeAbsolute : item.now ? (marketCap * (item.now - item.before)) / item.now : NaN;
      // The value of a subject is the total; a chain's part is only shown.
      if (kind === 'price' || !data.chain) this.setValue(subject, item, data, newer);
      else if (newer && subject.breakdown && data.chain in subject.breakdown) subject.breakdown[data.chain] = item.now;
    }
    if (item.chain && this.chains.size < 1000) this.chains.add(item.chain);
    if (newer) {
      subject.position = event.position;
      this.dirty.add(subject);
    }
    if (!past) {
      this.total++;
      this.ring[this.ringNext] = item;
      this.ringNext = (this.ringNext + 1) % this.ring.length;
    }
    if (at >= this.newestAt) {
      this.newestAt = at;
      this.delay = at - event.timestamp;
    }
    return item;
  }

  setValue(subject, item, data, newer) {
    // Before its first event the value was the previous one: that is where a move begins.
    const first = subject.times[0];
    if (first === undefined || item.at < first) {
      const since = data.previousTimestamp;
      subject.addPoint(since < item.at ? since : item.at - 1, item.before);
    }
    subject.addPoint(item.at, item.now);
    if (!newer) return;
    subject.value = item.now;
    if (item.kind === 'price') {
      subject.marketCap = data.marketCap ?? NaN;
      subject.volume = data.volume24h ?? NaN;
    } else if (data.breakdown) {
      subject.breakdown = data.breakdown;
      if (this.chains.size < 1000) for (const chain of Object.keys(data.breakdown)) this.chains.add(chain);
    }
  }

  /**
   * Takes in the hot keys of a snapshot. The values name their subject themselves, so the keys are not read.
   * @returns {Subject | null} the subject of the values
   */
  addState(state) {
    let found = null;
    for (let value of Object.values(state ?? {})) {
      if (typeof value === 'string') {
        try {
          value = JSON.parse(value);
        } catch {
          continue;
        }
      }
      if (!value || typeof value !== 'object') continue;
      const id = value.tokenId ?? value.protocolId;
      if (id === undefined) continue;
      const subject = (found = this.ensure(value.tokenId === undefined ? 'protocol' : 'token', String(id)));
      if (typeof value.tvl === 'number' && !value.chain) {
        subject.value = value.tvl;
        if (value.breakdown) subject.breakdown = value.breakdown;
      } else if (typeof value.price === 'number') {
        subject.value = value.price;
        subject.marketCap = value.marketCap ?? NaN;
        subject.volume = value.volume24h ?? NaN;
        subject.describe(value);
      } else if (typeof value.tvl !== 'number') {
        subject.meta = value;
        subject.describe({ protocolName: text(value.name), protocolSlug: text(value.slug) });
      }
      this.dirty.add(subject);
    }
    return found;
  }

  /** The newest events that pass a test, newest first. */
  newest(limit, passes) {
    const out = [];
    const { ring } = this;
    for (let i = 1; i <= ring.length && out.length < limit; i++) {
      const item = ring[(this.ringNext - i + ring.length) % ring.length];
      if (!item) break;
      if (passes(item)) out.push(item);
    }
    return out;
  }

  /**
   * The biggest moves since a time. Tokens whose market value is unknown come last, since their dollars are unknown.
   * @param {{kind: 'protocol' | 'token', start: number, unit: 'usd' | 'pct', limit: number}} options
   * @returns {Array<{subject: Subject, base: number, score: number}>}
   */
  movers({ kind, start, unit, limit }) {
    const moves = [];
    for (const subject of this.subjects.values()) {
      if (subject.kind !== kind || subject.lastAt < start || !Number.isFinite(subject.value)) continue;
      const base = subject.valueAt(start);
      if (!Number.isFinite(base) || base === subject.value) continue;
      const { usd, percent } = subject.moveFrom(base);
      const known = Number.isFinite(usd);
      if (known ? Math.abs(usd) < MIN_MOVE_USD : kind === 'protocol') continue;
      // An unknown size sorts behind every known one, among its like by per cent.
      const score = known ? Math.abs(unit === 'usd' ? usd : percent) : Math.min(Math.abs(percent), 1e9) - 1e12;
      moves.push({ subject, base, score });
    }
    moves.sort((a, b) => b.score - a.score);
    if (moves.length > limit) moves.length = limit;
    return moves;
  }

  /** Subjects whose names contain a text: those that begin with it first. */
  search(query, limit) {
    const wanted = query.trim().toLowerCase();
    if (!wanted) return [];
    const found = [];
    for (const subject of this.subjects.values()) {
      const at = subject.searchText.indexOf(wanted);
      if (at >= 0) found.push({ subject, rank: label(subject).toLowerCase().startsWith(wanted) ? 0 : 1 });
    }
    found.sort((a, b) => a.rank - b.rank || size(b.subject) - size(a.subject));
    return found.slice(0, limit).map((hit) => hit.subject);
  }
}

function size(subject) {
  const dollars = subject.kind === 'protocol' ? subject.value : subject.marketCap;
  return Number.isFinite(dollars) ? dollars : 0;
}

const text = (value) => (typeof value === 'string' ? value : '');
