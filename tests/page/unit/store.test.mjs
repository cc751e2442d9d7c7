import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { page } from './load.mjs';

const { changePercent, comparePositions, label, Store } = await page('store.js');
const golden = async (name) => JSON.parse(await readFile(new URL(`../../../crates/core/tests/golden/${name}.json`, import.meta.url), 'utf8'));

const T0 = 1_764_237_600_000;
let next = 0;

function tvl(at, before, now, more = {}) {
  const { id = '1', priority = 'low', ...data } = more;
  return { position: `${at}-0`, eventId: `e${next++}`, eventType: 'tvl_change', timestamp: at - 200, metadata: { priority },
    data: { protocolId: id, previousTvl: before, currentTvl: now, changePercent: changePercent(before, now), changeAbsolute: now - before, ...data } };
}

function price(at, before, now, more = {}) {
  const { id = 'bitcoin', ...data } = more;
  return { position: `${at}-0`, eventId: `e${next++}`, eventType: 'price_update', timestamp: at - 200, metadata: { priority: 'low' },
    data: { tokenId: id, previousPrice: before, currentPrice: now, changePercent: changePercent(before, now), changeAbsolute: now - before, ...data } };
}

test('the golden events of the processor are understood', async () => {
  const store = new Store();
  const items = [];
  for (const [i, name] of ['tvl_total', 'tvl_chain', 'price', 'status', 'chain_added'].entries()) {
    items.push(store.add({ position: `${T0 + i}-0`, ...(await golden(name)) }));
  }
  assert.deepEqual(items.map((item) => item.kind), ['tvl', 'tvl', 'price', 'update', 'update']);
  assert.deepEqual(items.map((item) => item.priority), [2, 0, 0, 2, 1]);
  const aave = store.subjects.get('protocol:1599');
  assert.equal(aave.value, 1_600_000);
  assert.equal(label(aave), 'Aave V3');
  assert.deepEqual(aave.breakdown, { base: 41000, era: 10000 });
  assert.equal(store.subjects.get('token:xdai:0xee').value, 1.002);
  assert.deepEqual([...store.chains].sort(), ['base', 'era', 'xdai']);
});

test('an event keeps its signal, and a signal alone is no change', () => {
  const store = new Store();
  const event = tvl(T0, 1e6, 2e6);
  const signal = { score: 40, kind: 'surge', stage: 'new', reason: 'why', typicalMove: 0.4, z: 50 };
  event.metadata.signal = signal;
  assert.deepEqual(store.add(event).signal, signal);
  assert.equal(store.add(tvl(T0 + 1, 2e6, 2e6)).signal, null);
  assert.equal(store.add({ ...tvl(T0 + 2, 2e6, 3e6), eventType: 'signal' }), null);
  assert.equal(store.subjects.get('protocol:1').value, 2e6);
});

test('an event that comes twice counts once', () => {
  const store = new Store();
  const event = tvl(T0, 1e6, 2e6);
  assert.ok(store.add(event));
  assert.equal(store.add({ ...event, position: `${T0 + 5}-0` }), null);
  assert.equal(store.total, 1);
});

test('repetitions are known over two generations, and the memory of them is bounded', () => {
  const store = new Store();
  const first = tvl(T0, 1e6, 2e6);
  store.add(first);
  for (let i = 1; i < 4096; i++) store.add(tvl(T0 + i, 1e6, 2e6));
  assert.equal(store.add(first), null);
  for (let i = 0; i < 20_000; i++) store.add(tvl(T0 + i, 1e6, 2e6));
  assert.ok(store.young.size + store.old.size <= 8192);
});

test('what is no event is left alone', () => {
  const store = new Store();
  for (const message of [null, {}, { eventType: 'x' }, { eventType: 'tvl_change' }, { eventType: 'tvl_change', data: {}, position: '1-0', eventId: 'a' },
    { eventType: 'tvl_change', data: { protocolId: '' }, position: '1-0', eventId: 'b' }]) assert.equal(store.add(message), null);
});

test('a move is from the value at the begin of the window', () => {
  const store = new Store();
  store.add(tvl(T0, 1e6, 2e6));
  store.add(tvl(T0 + 60_000, 2e6, 3e6));
  store.add(tvl(T0 + 120_000, 3e6, 2.5e6));
  const at = (start) => store.movers({ kind: 'protocol', start, unit: 'usd', limit: 9 }).map(({ base, subject }) => subject.value - base);
  assert.deepEqual(at(T0 - 1), [1.5e6]);
  assert.deepEqual(at(T0), [0.5e6]);
  assert.deepEqual(at(T0 + 60_000), [-0.5e6]);
  assert.deepEqual(at(T0 + 120_000), []);
});

test('moves below $10,000 are in neither list', () => {
  const store = new Store();
  store.add(tvl(T0, 100, 9000, { id: 'dust' }));
  store.add(tvl(T0, 1e9, 1.01e9, { id: 'big' }));
  store.add(tvl(T0, 1e6, 2e6, { id: 'double' }));
  const ids = (unit) => store.movers({ kind: 'protocol', start: T0 - 10, unit, limit: 9 }).map(({ subject }) => subject.id);
  assert.deepEqual(ids('usd'), ['big', 'double']);
  assert.deepEqual(ids('pct'), ['double', 'big']);
});

test('dollars of a token are those of its market value; tokens without one come last', () => {
  const store = new Store();
  store.add(price(T0, 100, 101, { id: 'large', marketCap: 1e9 }));
  store.add(price(T0, 1, 2, { id: 'small', marketCap: 2e6 }));
  store.add(price(T0, 1, 9, { id: 'unknown' }));
  store.add(price(T0, 1, 2, { id: 'tiny', marketCap: 100 }));
  const moves = (unit) => store.movers({ kind: 'token', start: T0 - 10, unit, limit: 9 }).map(({ subject }) => subject.id);
  assert.deepEqual(moves('usd'), ['large', 'small', 'unknown']);
  assert.deepEqual(moves('pct'), ['small', 'large', 'unknown']);
  assert.equal(Math.round(store.subjects.get('token:large').moveFrom(100).usd), Math.round(1e9 / 101));
});

test('a part of a chain changes the breakdown, not the total', () => {
  const store = new Store();
  store.add(tvl(T0, 1e6, 2e6, { breakdown: { base: 1e6, era: 1e6 } }));
  store.add(tvl(T0 + 1, 1e6, 3e6, { chain: 'base' }));
  const subject = store.subjects.get('protocol:1');
  assert.equal(subject.value, 2e6);
  assert.deepEqual(subject.breakdown, { base: 3e6, era: 1e6 });
});

test('older events that are read afterwards fill the past and leave the present', () => {
  const store = new Store();
  store.add(tvl(T0 + 60_000, 3e6, 4e6));
  store.add(tvl(T0, 1e6, 3e6, { protocolName: 'Old name' }), true);
  const subject = store.subjects.get('protocol:1');
  assert.equal(subject.value, 4e6);
  assert.equal(subject.valueAt(T0 - 1), 1e6);
  assert.equal(subject.valueAt(T0 + 30_000), 3e6);
  assert.deepEqual(subject.times, [...subject.times].sort((a, b) => a - b));
  assert.equal(store.newest(9, () => true).length, 1);
});

test('positions are compared by their halves', () => {
  assert.ok(comparePositions('9-0', '10-0') < 0);
  assert.ok(comparePositions('10-9', '10-10') < 0);
  assert.equal(comparePositions('10-1', '10-1'), 0);
});

test('a change from 0 counts as 100 per cent', () => {
  assert.equal(changePercent(0, 5), 100);
  assert.equal(changePercent(0, 0), 0);
  assert.equal(changePercent(-100, -50), 50);
});

test('points of one subject stay few, and recent windows stay exact', () => {
  const store = new Store();
  let value = 1e6;
  for (let i = 0; i < 50_000; i++) store.add(tvl(T0 + i * 1000, value, (value += 10)));
  const subject = store.subjects.get('protocol:1');
  assert.ok(subject.times.length < 320, String(subject.times.length));
  const end = T0 + 49_999_000;
  assert.equal(subject.valueAt(end), value);
  // Five minutes back: 300 events of $10, exact to one bucket.
  assert.ok(Math.abs(value - subject.valueAt(end - 300_000) - 3000) <= 310);
  assert.ok(Math.abs(value - subject.valueAt(end - 3_600_000) - 36_000) <= 2500);
});

test('subjects are bounded; those that are watched stay', () => {
  const store = new Store({ maxSubjects: 100 });
  store.pinned.add('protocol:0');
  for (let i = 0; i < 1000; i++) store.add(tvl(T0 + i, 1e6, 2e6, { id: String(i) }));
  assert.ok(store.subjects.size <= 100);
  assert.ok(store.subjects.has('protocol:0'));
  assert.ok(store.subjects.has('protocol:999'));
  assert.ok(!store.subjects.has('protocol:1'));
});

test('the newest events are bounded, newest first, and filtered', () => {
  const store = new Store({ maxEvents: 10 });
  for (let i = 0; i < 25; i++) store.add(tvl(T0 + i, 1e6, 2e6, { id: String(i) }));
  assert.deepEqual(store.newest(3, () => true).map((item) => item.subject.id), ['24', '23', '22']);
  assert.equal(store.newest(99, () => true).length, 10);
  assert.deepEqual(store.newest(99, (item) => item.subject.id === '20').length, 1);
});

test('the state of a snapshot names its subject itself', () => {
  const store = new Store();
  const found = store.addState({ 'tvl:{1599}': { breakdown: { base: 1 }, protocolId: '1599', timestamp: 1, tvl: 5 }, 'protocol:{1599}:meta': '{"name":"Aave","protocolId":"1599","category":"Lending"}' });
  assert.equal(found.value, 5);
  assert.equal(label(found), 'Aave');
  assert.equal(found.meta.category, 'Lending');
  assert.equal(store.addState({ 'price:bitcoin': { tokenId: 'bitcoin', price: 7, symbol: 'BTC', marketCap: 9 } }).value, 7);
  assert.equal(store.addState({ x: 'no json', y: null, z: 3 }), null);
  assert.equal(store.addState(undefined), null);
});

test('the search finds names, slugs, symbols and ids', () => {
  const store = new Store();
  store.add(tvl(T0, 1e6, 2e6, { id: '1599', protocolName: 'Aave V3', protocolSlug: 'aave-v3' }));
  store.add(tvl(T0, 1e6, 3e6, { id: '7', protocolName: 'Not aave' }));
  store.add(price(T0, 1, 2, { id: 'aave', symbol: 'AAVE', marketCap: 10 }));
  assert.deepEqual(store.search(' AAVE', 9).map((s) => s.key), ['protocol:1599', 'token:aave', 'protocol:7']);
  assert.deepEqual(store.search('159', 9).map((s) => s.key), ['protocol:1599']);
  assert.deepEqual(store.search('  ', 9), []);
});
