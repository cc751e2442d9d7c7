import assert from 'node:assert/strict';
import { test } from 'node:test';
import { page } from './load.mjs';

const { filter, weight } = await page('feed.js');
const { defaults } = await page('url.js');

const item = (more) => ({ kind: 'tvl', priority: 0, chain: '', usd: 1e6, percent: 1, subject: { key: 'protocol:1', searchText: 'aave v3\n1599' }, ...more });
const watch = new Set(['protocol:1']);
const passes = (choices, more) => filter({ ...defaults(), ...choices }, watch)(item(more));

test('without a choice everything passes', () => {
  for (const kind of ['tvl', 'price', 'update']) assert.ok(passes({}, { kind }));
});

test('kinds, priority, chain, watch list and search narrow the feed, all of them together', () => {
  assert.ok(!passes({ types: 'price' }, {}));
  assert.ok(!passes({ types: '' }, {}));
  assert.ok(passes({ priority: 'medium' }, { priority: 1 }));
  assert.ok(!passes({ priority: 'high' }, { priority: 1 }));
  assert.ok(passes({ chain: 'base' }, { chain: 'base' }));
  assert.ok(!passes({ chain: 'base' }, {}));
  assert.ok(!passes({ chain: 'total' }, { chain: 'base' }));
  assert.ok(passes({ chain: 'total' }, { chain: 'xdai', kind: 'price' }));
  assert.ok(passes({ watched: '1' }, {}));
  assert.ok(!passes({ watched: '1' }, { subject: { key: 'protocol:2', searchText: '' } }));
  assert.ok(passes({ q: ' AAVE ' }, {}));
  assert.ok(!passes({ q: 'lido' }, {}));
  assert.ok(!passes({ q: 'aave', priority: 'high' }, {}));
});

test('rows go to what is urgent, then to what is large in dollars and per cent', () => {
  const order = [
    { priority: 2, usd: 1e3, percent: 60 },
    { usd: 5e8, percent: -30 },
    { usd: 5e6, percent: 9 },
    { kind: 'update', updateType: 'category', usd: NaN, percent: NaN },
    { usd: 2e9, percent: 0.1 },
    { usd: 100, percent: 900 },
  ].map(item);
  assert.deepEqual([...order].reverse().sort((a, b) => weight(b) - weight(a)), order);
  for (const each of order) assert.ok(Number.isFinite(weight(each)));
});
