// Reads the past that the log still holds, so that a new tab knows more than its first minute. Bounded, and in small
// steps: neither the gateway nor the main thread should notice.

import { readEvents } from './api.js';
import { comparePositions, positionTime } from './store.js';

const PAGE = 1000;
const MAX_PAGES = 5;
const PAUSE_MS = 400;
const STEP = 150;

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Adds events in small steps, with room for frames between them. */
export async function addInSteps(store, events, past = true) {
  for (let i = 0; i < events.length; i += STEP) {
    for (const event of events.slice(i, i + STEP)) store.add(event, past);
    if (i + STEP < events.length) await sleep(0);
  }
}

/**
 * Reads the newest events, then up to five pages of older ones, and tells the store since when nothing is missing.
 * @param {import('./store.js').Store} store
 * @param {() => void} onProgress
 */
export async function backfill(store, onProgress) {
  const newest = await readEvents({ limit: PAGE });
  if (!newest?.events.length) return;
  await addInSteps(store, newest.events);
  const first = newest.events[0].position;
  store.completeSince = positionTime(newest.events.length < PAGE ? newest.oldest : first);
  onProgress();
  if (newest.events.length < PAGE) return;

  // Pages go forward only, so the begin of what fits into them is estimated from the rate.
  const span = Math.max(1, positionTime(newest.events.at(-1).position) - positionTime(first));
  const begin = Math.max(positionTime(newest.oldest) - 1, positionTime(first) - span * (MAX_PAGES - 0.5));
  let since = `${Math.floor(begin)}-0`;
  for (let page = 0; page < MAX_PAGES; page++) {
    await sleep(PAUSE_MS + Math.random() * PAUSE_MS);
    const older = await readEvents({ since, limit: PAGE });
    if (!older?.events.length) return;
    await addInSteps(store, older.events);
    since = older.events.at(-1).position;
    onProgress();
    if (comparePositions(since, first) >= 0) {
      store.completeSince = begin;
      onProgress();
      return;
    }
  }
}
