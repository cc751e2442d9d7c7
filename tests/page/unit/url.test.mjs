import assert from 'node:assert/strict';
import { test } from 'node:test';
import { page } from './load.mjs';

const { defaults, format, parse, parseSubject } = await page('url.js');

test('defaults leave the address empty', () => {
  assert.equal(format(defaults()), '');
  assert.deepEqual(parse(''), defaults());
});

test('every choice survives the way into the address and back', () => {
  const choices = { window: '5m', unit: 'pct', kind: 'tvl', view: 'watch', q: 'a&b=c ü%', types: 'tvl,update', priority: 'high', chain: 'xdai',
    watched: '1', tab: 'feed', subject: 'token:xdai:0xee', part: 'base' };
  assert.deepEqual(parse(format(choices)), choices);
  assert.match(format(choices), /subject=token:xdai:0xee/);
});

test('what is not understood becomes the default', () => {
  const choices = parse('?window=7y&unit=eur&kind=x&view=y&types=a,tvl,b&priority=urgent&tab=0&subject=person:1&part=base&watched=yes&other=1');
  assert.deepEqual(choices, { ...defaults(), types: 'tvl' });
  assert.equal(parse('?q=' + 'x'.repeat(1000)).q, '');
});

test('no kind at all is a choice too', () => {
  const choices = { ...defaults(), types: '' };
  assert.equal(parse(format(choices)).types, '');
});

test('subjects', () => {
  assert.deepEqual(parseSubject('token:xdai:0xee'), { kind: 'token', id: 'xdai:0xee' });
  assert.deepEqual(parseSubject('protocol:aave-v3'), { kind: 'protocol', id: 'aave-v3' });
  for (const key of ['', 'protocol:', 'protocol', 'x:1', ':1']) assert.equal(parseSubject(key), null, key);
});
