// Events as the processor writes them, for the tests of the page.
import { randomUUID } from 'node:crypto';

function event(type, priority, tags, data) {
  const timestamp = Date.now();
  return { eventId: randomUUID(), eventType: type, timestamp, source: 'dynamodb', version: '1.0',
    metadata: { correlationId: `test-${Math.floor(timestamp / 3_600_000)}`, confidence: 0.9, processingTime: 1.5, retryCount: 0, priority, tags }, data };
}

/** A change of total TVL, or with `chain` of one chain's. */
export function tvl({ id, name, slug, before, now, priority = 'low', ...more }) {
  const data = { protocolId: id };
  if (name) data.protocolName = name;
  if (slug) data.protocolSlug = slug;
  const change = now - before;
  Object.assign(data, more, { previousTvl: before, currentTvl: now, changePercent: (change / before) * 100, changeAbsolute: change, previousTimestamp: Date.now() - 3_600_000 });
  return event('tvl_change', priority, ['tvl', id], data);
}

/** A change of a price. */
export function price({ id, symbol, before, now, priority = 'low', ...more }) {
  const change = now - before;
  const data = { tokenId: id, ...(symbol ? { symbol } : {}), ...more, previousPrice: before, currentPrice: now, changePercent: (change / before) * 100, changeAbsolute: change };
  return event('price_update', priority, ['price', id], data);
}

/** A change of a protocol's fields. */
export function update({ id, name, updateType = 'metadata', changes, priority = 'medium' }) {
  return event('protocol_update', priority, ['protocol', id], { protocolId: id, ...(name ? { protocolName: name } : {}), updateType, changes });
}

/** An endless flow over some hundreds of protocols and tokens. */
export class Flow {
  constructor(subjects = 400) {
    this.subjects = subjects;
    this.values = new Map();
    this.n = 0;
  }

  next() {
    const i = this.n++;
    const k = Math.floor(Math.random() * this.subjects);
    const before = this.values.get(k) ?? 10 ** (4 + (k % 6)) * (1 + (k % 9));
    const size = i % 97 === 0 ? 0.4 : 0.02;
    const now = before * (1 + (Math.random() - 0.48) * size);
    this.values.set(k, now);
    const priority = size > 0.1 && i % 194 === 0 ? 'medium' : 'low';
    if (i % 61 === 60) return update({ id: `flow-${k}`, name: `Protocol ${k}`, changes: [{ field: 'category', previousValue: 'Lending', currentValue: 'CDP' }] });
    if (k % 2) return price({ id: `flow-token-${k}`, symbol: `TOK${k}`, before: before / 1e5, now: now / 1e5, marketCap: now * 10, volume24h: now, priority });
    return tvl({ id: `flow-${k}`, name: `Protocol ${k}`, slug: `protocol-${k}`, before, now, priority, breakdown: { ethereum: now * 0.7, base: now * 0.2, arbitrum: now * 0.1 } });
  }
}

/** Publishes `rate` events a second until it is stopped. */
export function run(redis, rate, flow = new Flow()) {
  let due = 0;
  let last = performance.now();
  let sent = 0;
  const timer = setInterval(() => {
    const now = performance.now();
    due += ((now - last) / 1000) * rate;
    last = now;
    for (; due >= 1; due--) {
      sent++;
      redis.publish(flow.next()).catch(() => {});
    }
  }, 10);
  return { stop: () => clearInterval(timer), sent: () => sent };
}
