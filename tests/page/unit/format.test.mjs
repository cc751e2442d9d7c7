import assert from 'node:assert/strict';
import { test } from 'node:test';
import { page } from './load.mjs';

const f = await page('format.js');

test('dollars are short and keep three or four digits', () => {
  const cases = [[0, '$0'], [0.5, '$0.50'], [99.99, '$99.99'], [812, '$812'], [999.97, '$1.00K'], [1234, '$1.23K'], [12345, '$12.35K'],
    [123456, '$123.5K'], [999_996, '$1.00M'], [1e6, '$1.00M'], [12.345e9, '$12.35B'], [1.9e12, '$1.90T'], [-5e6, '−$5.00M'], [NaN, '–'], [Infinity, '–']];
  for (const [value, text] of cases) assert.equal(f.usd(value), text, String(value));
});

test('signs are written, never left to colour', () => {
  assert.equal(f.signedUsd(1.2e6), '+$1.20M');
  assert.equal(f.signedUsd(-1.2e6), '−$1.20M');
  assert.equal(f.signedUsd(0), '$0');
  assert.equal(f.percent(2.349), '+2.35%');
  assert.equal(f.percent(-60), '−60.00%');
  assert.equal(f.percent(123.44), '+123.4%');
  assert.equal(f.percent(12345.6), '+12,346%');
  assert.equal(f.percent(0), '0.00%');
  assert.equal(f.percent(NaN), '–');
  assert.equal(f.arrow(1) + f.arrow(-1) + f.arrow(0), '▲▼·');
  assert.deepEqual([1, -1, 0, NaN].map(f.direction), ['up', 'down', 'flat', 'flat']);
});

test('prices have the digits that say something', () => {
  const cases = [[97312.4, '$97,312.40'], [100, '$100.00'], [34.6, '$34.600'], [1.0002, '$1.0002'], [0.99981, '$0.9998'], [0.3871, '$0.3871'],
    [0.00001934, '$0.00001934'], [1.934e-12, '$1.934e-12'], [0, '$0'], [-3, '−$3.0000'], [NaN, '–']];
  for (const [value, text] of cases) assert.equal(f.price(value), text, String(value));
});

test('exact dollars have every digit before the point', () => {
  assert.equal(f.exactUsd(12345678901.4), '$12,345,678,901');
  assert.equal(f.exactUsd(12.3), '$12.30');
  assert.equal(f.exactUsd(-1500), '−$1,500');
});

test('shares', () => {
  assert.equal(f.share(1, 3), '33.3%');
  assert.equal(f.share(1, 1e6), '<0.1%');
  assert.equal(f.share(0, 10), '0.0%');
  assert.equal(f.share(1, 0), '–');
});

test('lengths of time have one unit', () => {
  const cases = [[0, '0 s'], [999, '0 s'], [59_999, '59 s'], [60_000, '1 min'], [3_599_999, '59 min'], [3_600_000, '1 h'], [86_400_000, '1 d'], [-5, '0 s'], [NaN, '–']];
  for (const [ms, text] of cases) assert.equal(f.duration(ms), text, String(ms));
  assert.equal(f.ago(400), 'now');
  assert.equal(f.ago(3000), '3 s ago');
});

test('changes of a protocol are in words', () => {
  const change = (field, previousValue, currentValue) => f.describeChange({ field, previousValue, currentValue });
  assert.equal(change('chains', null, 'era'), 'chain added: era');
  assert.equal(change('chains', 'era', null), 'chain gone: era');
  assert.equal(change('rugged', false, true), 'rugged: no → yes');
  assert.equal(change('category', 'Lending', 'CDP'), 'category: Lending → CDP');
  assert.equal(change('url', null, 'x'), 'url set: x');
  assert.equal(change('url', 'x', null), 'url removed, was x');
  assert.equal(change('list', [1], { a: 2 }), 'list: [1] → {"a":2}');
  assert.ok(change('description', 'a', 'b'.repeat(500)).length < 90);
  assert.equal(f.describeChanges([{ field: 'a', previousValue: 1, currentValue: 2 }, { field: 'b', previousValue: 1, currentValue: 2 }, { field: 'c' }]), 'a: 1 → 2 · b: 1 → 2 · 1 more');
  assert.equal(f.describeChanges(undefined), '');
});

test('long ids are shortened in the middle', () => {
  assert.equal(f.shortId('bitcoin'), 'bitcoin');
  assert.equal(f.shortId('ethereum:0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48'), 'ethereum:0xa…06eb48');
});
