import assert from 'node:assert/strict';
import { test } from 'node:test';
import { page } from './load.mjs';

const { backfill } = await page('backfill.js');
const { comparePositions, Store } = await page('store.js');

const NOW = 1_764_237_600_000;

/** The position just before another. */
function before(position) {
  const [ms, number] = position.split('-').map(Number);
  return number ? `${ms}-${number - 1}` : `${ms - 1}-18446744073709551615`;
}

/** A gateway with this log. Waits of the page take no time. */
function serve(t, log) {
  const asked = [];
  t.mock.method(globalThis, 'setTimeout', (run) => queueMicrotask(run));
  t.mock.method(globalThis, 'fetch', async (path) => {
    const query = new URL(path, 'http://x').searchParams;
    asked.push(Object.fromEntries(query));
    const [since, limit] = [query.get('since'), Number(query.get('limit'))];
    // As the gateway does: it has everything after its oldest position, and before that there is a gap.
    const oldest = log.length ? before(log[0].position) : '0-0';
    const gap = Boolean(since) && comparePositions(since, oldest) < 0;
    const events = since && !gap ? log.filter((event) => comparePositions(event.position, since) > 0).slice(0, limit) : log.slice(-limit);
    return { ok: true, json: async () => ({ position: log.at(-1)?.position ?? '0-0', oldest, gap, events }) };
  });
  return asked;
}

const log = (n, ageOf) => Array.from({ length: n }, (_, i) => {
  const at = Math.round(NOW - ageOf(n - 1 - i));
  return { position: `${at}-${i}`, eventId: `e${i}`, eventType: 'tvl_change', timestamp: at, metadata: {}, data: { protocolId: String(i % 50), previousTvl: i, currentTvl: i + 1 } };
});

async function run(t, events) {
  const asked = serve(t, events);
  const store = new Store();
  await backfill(store, () => {});
  return { asked, store, knownMs: NOW - store.completeSince };
}

test('a short log is read whole', async (t) => {
  const { asked, knownMs } = await run(t, log(300, (age) => age * 10_000));
  assert.equal(asked.length, 1);
  assert.equal(knownMs, 299 * 10_000 + 1);
});

test('of a long log at an even pace, some six pages are read', async (t) => {
  const { asked, knownMs } = await run(t, log(40_000, (age) => age * 10));
  assert.ok(asked.length <= 6, String(asked.length));
  assert.ok(knownMs >= 35_000 && knownMs <= 65_000, String(knownMs));
});

test('a quiet past is reached to its begin', async (t) => {
  const { asked, knownMs } = await run(t, log(3_000, (age) => (age < 1500 ? age * 10 : 15_000 + (age - 1500) * 10_000)));
  assert.ok(asked.length <= 6, String(asked.length));
  assert.ok(knownMs > 3_600_000, String(knownMs));
});

test('a busy past costs no more than the budget, and what is complete is never said too early', async (t) => {
  const { asked, knownMs } = await run(t, log(30_000, (age) => (age < 1000 ? age * 100 : 100_000 + (age - 1000))));
  assert.ok(asked.length <= 6, String(asked.length));
  assert.ok(knownMs <= 100_000, String(knownMs));
});

test('an empty log and a gateway that does not answer are no error', async (t) => {
  await run(t, []);
  t.mock.method(globalThis, 'fetch', async () => { throw new TypeError('no network'); });
  const store = new Store();
  await backfill(store, () => {});
  assert.ok(Number.isNaN(store.completeSince));
});

test('what is read afterwards moves the past of the movers', async (t) => {
  const { store } = await run(t, log(300, (age) => age * 10_000));
  assert.equal(store.newest(9, () => true).length, 0);
  assert.equal(store.subjects.get('protocol:49').value, 300);
  assert.equal(store.subjects.get('protocol:49').valueAt(NOW - 3_000_000), 49);
});
