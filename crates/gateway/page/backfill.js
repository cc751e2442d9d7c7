// Reads the past that the log still holds, so that a new tab knows more than its first minute. Bounded, and in small
// steps: neither the gateway nor the main thread should notice.

import { readEvents } from './api.js';
import { positionTime } from './store.js';

const PAGE = 1000;
const MAX_PAGES = 5;
const PAUSE_MS = 400;
const STEP = 150;
const MAX_AGE_MS = 24 * 3600e3;

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

  // Pages go forward only, so where the page budget begins is estimated from the rate, stretch by stretch.
  let budget = MAX_PAGES;
  let end = positionTime(first);
  let span = Math.max(1, positionTime(newest.events.at(-1).position) - end);
  let rate = PAGE / span;
  const oldest = Math.max(positionTime(newest.oldest), end - MAX_AGE_MS);
  while (budget > 0 && end > oldest) {
    // Half of the budget: a stretch that was busier than the estimate can still be finished.
    const begin = Math.floor(Math.max(oldest, end - ((budget / 2) * PAGE) / rate));
    // At the begin of what the gateway has, its own word for it: a position before that would be a gap.
    const since = begin <= positionTime(newest.oldest) ? newest.oldest : `${begin}-0`;
    const read = await readStretch(store, since, end, budget, onProgress);
    if (!read) return;
    budget -= read.pages;
    store.completeSince = begin;
    onProgress();
    span = end - begin;
    rate = Math.max(1, read.events) / span;
    end = begin;
  }
}

/** Reads all events from a position to a time; null if that takes more pages than there may be, or some are gone. */
async function readStretch(store, since, end, budget, onProgress) {
  let events = 0;
  for (let pages = 1; pages <= budget; pages++) {
    await sleep(PAUSE_MS + Math.random() * PAUSE_MS);
    const answer = await readEvents({ since, limit: PAGE });
    if (!answer || answer.gap) return null;
    await addInSteps(store, answer.events);
    // A page may reach beyond the stretch, into what is known.
    for (const { position } of answer.events) if (positionTime(position) < end) events++;
    since = answer.events.at(-1)?.position ?? since;
    onProgress();
    if (answer.events.length < PAGE || positionTime(since) >= end) return { pages, events };
  }
  return null;
}
