// Numbers, times and changes as text. Pure functions: no DOM, no clock.

const MINUS = '\u2212';
const GROUPS = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });
const CENTS = new Intl.NumberFormat('en-US', { minimumFractionDigits: 2, maximumFractionDigits: 2 });

/** Units of short dollars, the largest first. */
export const SCALES = [[1e12, 'T'], [1e9, 'B'], [1e6, 'M'], [1e3, 'K']];

/** A whole number with separators: 12,345. @param {number} value */
export function count(value) {
  return GROUPS.format(value);
}

/** `1 event`, `2 events`. @param {number} n @param {string} one @param {string} [many] */
export function plural(n, one, many = one + 's') {
  return `${count(n)} ${n === 1 ? one : many}`;
}

function magnitude(value) {
  for (let i = 0; i < SCALES.length; i++) {
    const [scale, unit] = SCALES[i];
    // 999,996 rounds to 1,000.0 K, so it belongs to the next unit.
    if (value >= scale * 0.99995) {
      const scaled = value / scale;
      return scaled.toFixed(scaled < 99.995 ? 2 : 1) + unit;
    }
  }
  if (value >= 100) return value.toFixed(0);
  return value === 0 ? '0' : value.toFixed(2);
}

/** US dollars, short: $12.35B. @param {number} value */
export function usd(value) {
  if (!Number.isFinite(value)) return '–';
  return (value < 0 ? MINUS : '') + '$' + magnitude(Math.abs(value));
}

/** US dollars with their sign: +$1.20M. @param {number} value */
export function signedUsd(value) {
  if (!Number.isFinite(value)) return '–';
  const text = magnitude(Math.abs(value));
  return (value < 0 ? MINUS : value > 0 ? '+' : '') + '$' + text;
}

/** US dollars, every digit before the point: $12,345,678,901. @param {number} value */
export function exactUsd(value) {
  if (!Number.isFinite(value)) return '–';
  const size = Math.abs(value);
  return (value < 0 ? MINUS : '') + '$' + (size < 1000 ? CENTS : GROUPS).format(size);
}

/** A price with as many digits as say something: $97,312.40, $1.0002, $0.00001934. @param {number} value */
export function price(value) {
  if (!Number.isFinite(value)) return '–';
  const size = Math.abs(value);
  const sign = value < 0 ? MINUS : '';
  if (size === 0) return '$0';
  if (size >= 100) return sign + '$' + CENTS.format(size);
  // The same number of digits for neighbours: a column of prices stays in line while it changes.
  if (size >= 1) return sign + '$' + size.toFixed(size >= 10 ? 3 : 4);
  if (size < 1e-9) return sign + '$' + size.toExponential(3);
  // Four significant digits: the zeros behind the point do not count.
  const places = Math.min(13, 3 - Math.floor(Math.log10(size)));
  return sign + '$' + size.toFixed(places);
}

/** A signed percentage: +2.35%. @param {number} value */
export function percent(value) {
  if (!Number.isFinite(value)) return '–';
  const size = Math.abs(value);
  const sign = value < 0 ? MINUS : value > 0 ? '+' : '';
  if (size >= 1000) return sign + GROUPS.format(size) + '%';
  if (size >= 100) return sign + size.toFixed(1) + '%';
  if (size !== 0 && size < 0.005) return sign + '0.00%';
  return sign + size.toFixed(2) + '%';
}

/** A share of a whole, without a sign: 12.3%. @param {number} part @param {number} whole */
export function share(part, whole) {
  if (!(whole > 0) || !Number.isFinite(part)) return '–';
  const value = (part / whole) * 100;
  if (value > 0 && value < 0.1) return '<0.1%';
  return value.toFixed(1) + '%';
}

/** `up`, `down` or `flat`. @param {number} value */
export function direction(value) {
  return value > 0 ? 'up' : value < 0 ? 'down' : 'flat';
}

/** The shape that says the direction without colour. @param {number} value */
export function arrow(value) {
  return value > 0 ? '▲' : value < 0 ? '▼' : '·';
}

/** A length of time, one unit: 3 s, 12 min, 5 h, 2 d. @param {number} ms */
export function duration(ms) {
  if (!Number.isFinite(ms)) return '–';
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return seconds + ' s';
  if (seconds < 3600) return Math.floor(seconds / 60) + ' min';
  if (seconds < 86400) return Math.floor(seconds / 3600) + ' h';
  return Math.floor(seconds / 86400) + ' d';
}

/** How long ago: now, 3 s ago. @param {number} ms */
export function ago(ms) {
  if (!Number.isFinite(ms)) return '–';
  return ms < 1000 ? 'now' : duration(ms) + ' ago';
}

const two = (n) => (n < 10 ? '0' : '') + n;

/** The local time of day: 14:03:09. @param {number} ms @param {boolean} [seconds] */
export function clock(ms, seconds = true) {
  const d = new Date(ms);
  return `${two(d.getHours())}:${two(d.getMinutes())}${seconds ? ':' + two(d.getSeconds()) : ''}`;
}

/** The local date and time: 2026-01-31 14:03:09. @param {number} ms */
export function dateTime(ms) {
  if (!Number.isFinite(ms)) return '';
  const d = new Date(ms);
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${clock(ms)}`;
}

/** The end of a long id, or the begin and end of an address. @param {string} id */
export function shortId(id) {
  return id.length <= 22 ? id : id.slice(0, 12) + '…' + id.slice(-6);
}

function quoted(value) {
  if (value === null || value === undefined) return 'nothing';
  if (value === true) return 'yes';
  if (value === false) return 'no';
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text.length > 60 ? text.slice(0, 59) + '…' : text;
}

/**
 * One change of a protocol's fields in words: `category: Lending → CDP`.
 * @param {{field: string, previousValue: unknown, currentValue: unknown}} change
 */
export function describeChange(change) {
  const { field, previousValue: before, currentValue: after } = change;
  if (field === 'chains' && (before === null || before === undefined) && typeof after === 'string') return `chain added: ${after}`;
  if (field === 'chains' && (after === null || after === undefined) && typeof before === 'string') return `chain gone: ${before}`;
  if (before === null || before === undefined) return `${field} set: ${quoted(after)}`;
  if (after === null || after === undefined) return `${field} removed, was ${quoted(before)}`;
  return `${field}: ${quoted(before)} → ${quoted(after)}`;
}

/** All changes of an update, shortened to the first few. @param {Array<object>} changes @param {number} [limit] */
export function describeChanges(changes, limit = 2) {
  const list = Array.isArray(changes) ? changes : [];
  const text = list.slice(0, limit).map(describeChange).join(' · ');
  return list.length > limit ? `${text} · ${list.length - limit} more` : text;
}
