// The gateway's read API. A failure is an answer too: null, never an exception.

const TIMEOUT_MS = 10_000;

async function get(path) {
  try {
    const response = await fetch(path, { signal: AbortSignal.timeout(TIMEOUT_MS) });
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
