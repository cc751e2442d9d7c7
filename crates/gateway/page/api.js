// The gateway's read API. A failure is an answer too: null, never an exception.

const TIMEOUT_MS = 10_000;

// A gateway with API keys is opened as /?key=KEY. The key stays out of the choices in the address, but is kept for this tab.
const KEY = 'key';
const given = globalThis.location ? new URLSearchParams(location.search).get(KEY) : null;
const key = given ?? globalThis.sessionStorage?.getItem(KEY);
if (given) sessionStorage.setItem(KEY, given);

/** A path with the API key of this tab, if it has one. @param {string} path */
export function withKey(path) {
  return key ? `${path}${path.includes('?') ? '&' : '?'}${KEY}=${encodeURIComponent(key)}` : path;
}

async function get(path) {
  try {
    const response = await fetch(withKey(path), { signal: AbortSignal.timeout(TIMEOUT_MS) });
    return response.ok ? await response.json() : null;
  } catch {
    return null;
  }
}

/**
 * Events of a channel, oldest first: after a position, or the newest.
 * @param {{channel?: string, since?: string, limit?: number}} query
 * @returns {Promise<{position: string, oldest: string, gap: boolean, events: object[]} | null>}
 */
export function readEvents({ channel = 'events:*', since, limit = 1000 }) {
  const query = new URLSearchParams({ channel, limit: String(limit) });
  if (since) query.set('since', since);
  return get(`/v1/events?${query}`);
}

/** The hot key of a protocol or token. @param {'protocol' | 'token'} kind @param {string} id */
export function readState(kind, id) {
  return get(`/v1/${kind === 'protocol' ? 'tvl' : 'price'}/${encodeURIComponent(id)}`);
}
