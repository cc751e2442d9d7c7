// The choices of the page as the query of its address, and back. Pure functions. Defaults stay out of the address.

/** The windows of time, ms. */
export const WINDOWS = { '5m': 300e3, '15m': 900e3, '1h': 3600e3, '4h': 4 * 3600e3, '24h': 24 * 3600e3 };

/** The kinds of events, by the name in the address. */
export const TYPES = ['tvl', 'price', 'update'];

const DEFAULTS = Object.freeze({
  window: '1h', unit: 'usd', kind: 'all', view: 'movers', q: '', types: TYPES.join(','), priority: 'low', chain: '',
  watched: '', tab: 'movers', subject: '', part: '',
});

// The allowed values. A key that is not here takes any text.
const ALLOWED = {
  window: Object.keys(WINDOWS), unit: ['usd', 'pct'], kind: ['all', 'tvl', 'price'], view: ['movers', 'watch'],
  priority: ['low', 'medium', 'high'], watched: ['', '1'], tab: ['movers', 'feed', 'detail'],
};

const MAX_TEXT = 200;

/** The choices when the address says nothing. */
export function defaults() {
  return { ...DEFAULTS };
}

/**
 * Reads choices from a query. What is not understood becomes the default.
 * @param {string} search such as `?window=5m`
 */
export function parse(search) {
  const query = new URLSearchParams(search);
  const choices = defaults();
  for (const key of Object.keys(DEFAULTS)) {
    const value = query.get(key);
    if (value === null || value.length > MAX_TEXT) continue;
    if (ALLOWED[key] && !ALLOWED[key].includes(value)) continue;
    choices[key] = value;
  }
  choices.types = TYPES.filter((type) => choices.types.split(',').includes(type)).join(',');
  if (choices.subject && !parseSubject(choices.subject)) choices.subject = '';
  if (!choices.subject) choices.part = '';
  return choices;
}

/** The query of these choices, empty or with `?` in front. @param {Record<string, string>} choices */
export function format(choices) {
  const query = new URLSearchParams();
  for (const key of Object.keys(DEFAULTS)) {
    if (choices[key] !== DEFAULTS[key]) query.set(key, choices[key]);
  }
  // A colon and a comma may stand in a query, and are easier to read.
  const text = query.toString().replaceAll('%3A', ':').replaceAll('%2C', ',');
  return text ? '?' + text : '';
}

/**
 * `protocol:1599` or `token:bitcoin` in its parts; null for anything else.
 * @param {string} key
 */
export function parseSubject(key) {
  const colon = key.indexOf(':');
  const kind = key.slice(0, colon);
  const id = key.slice(colon + 1);
  if ((kind !== 'protocol' && kind !== 'token') || !id) return null;
  return { kind, id };
}
