import assert from 'node:assert/strict';
import { beforeEach, mock, test } from 'node:test';
import { page } from './load.mjs';

const { backoff, Connection, retryAfterOf } = await page('connection.js');

class FakeSocket {
  static all = [];
  constructor(url) {
    Object.assign(this, { url, readyState: 1, sent: [], closed: false });
    FakeSocket.all.push(this);
  }
  send(text) { this.sent.push(JSON.parse(text)); }
  close() { this.closed = true; }
  say(message) { this.onmessage?.({ data: JSON.stringify(message) }); }
  end(code = 1006, reason = '') { this.readyState = 3; this.onclose?.({ code, reason }); }
}
const last = () => FakeSocket.all.at(-1);
const welcome = { type: 'welcome', version: '1', position: '100-0', pingSeconds: 25 };

beforeEach(() => {
  FakeSocket.all = [];
  globalThis.WebSocket = FakeSocket;
  mock.timers.reset();
  mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_000_000 });
  mock.method(Math, 'random', () => 0.5);
});

function start() {
  const seen = { events: [], snapshots: [], messages: [], statuses: [] };
  const connection = new Connection({ url: 'ws://x/ws', onEvent: (e) => seen.events.push(e), onSnapshot: (s) => seen.snapshots.push(s),
    onMessage: (m) => seen.messages.push(m), onStatus: (s) => seen.statuses.push(s) });
  connection.connect();
  return { connection, seen };
}

test('it subscribes to everything after the welcome, and asks for the time', () => {
  const { connection, seen } = start();
  assert.deepEqual(last().sent, []);
  last().say(welcome);
  assert.deepEqual(last().sent, [{ action: 'subscribe', channel: 'events:*' }, { action: 'ping' }]);
  last().say({ type: 'pong', timestamp: 1_005_000 });
  assert.equal(connection.now(), 1_005_000);
  assert.deepEqual(seen.statuses.map((s) => s.state), ['connecting', 'live']);
});

test('after a break it resumes after the last position, and reads the selected state again', () => {
  const { connection } = start();
  connection.follow('events:protocol:1');
  last().say(welcome);
  last().say({ type: 'snapshot', channels: ['events:*'], position: '100-0', state: {}, events: [] });
  last().say({ eventType: 'tvl_change', position: '101-0' });
  last().say({ type: 'snapshot', channels: ['events:protocol:1'], position: '105-0', state: {}, events: [] });
  last().end();
  mock.timers.tick(1000);
  assert.equal(FakeSocket.all.length, 2);
  last().say(welcome);
  assert.deepEqual(last().sent.slice(0, 2), [{ action: 'subscribe', channel: 'events:*', since: '101-0' }, { action: 'subscribe', channel: 'events:protocol:1' }]);
});

test('it waits longer after each failure, and short again after a good connection', () => {
  const { seen } = start();
  const waits = [];
  for (let i = 0; i < 9; i++) {
    last().end();
    const { retryAt } = seen.statuses.at(-1);
    waits.push(retryAt - Date.now());
    mock.timers.tick(retryAt - Date.now());
  }
  assert.deepEqual(waits, [250, 500, 1000, 2000, 4000, 8000, 15000, 15000, 15000]);
  last().say(welcome);
  mock.timers.tick(11_000);
  last().end();
  assert.equal(seen.statuses.at(-1).retryAt - Date.now(), 250);
});

test('the jitter is full', () => {
  assert.equal(backoff(3, () => 0), 0);
  assert.equal(backoff(3, () => 1), 4000);
  assert.equal(backoff(100, () => 1), 30_000);
});

test('goodbye and close reasons say when to come back', () => {
  const { seen } = start();
  last().say(welcome);
  last().say({ type: 'goodbye', retryAfter: 3000 });
  last().end(1012, '');
  assert.equal(seen.statuses.at(-1).retryAt - Date.now(), 3125);
  mock.timers.tick(4000);
  last().end(1013, 'retryAfter=7000');
  assert.equal(seen.statuses.at(-1).retryAt - Date.now(), 7125);
  assert.match(seen.statuses.at(-1).reason, /as many connections/);
  assert.equal(retryAfterOf('retryAfter=12'), 12);
  assert.equal(retryAfterOf('x'), null);
});

test('it pings when it was silent, and gives up a connection that does not answer', () => {
  const { connection, seen } = start();
  last().say(welcome);
  last().say({ type: 'pong', timestamp: Date.now() });
  const first = last();
  first.sent.length = 0;
  for (let i = 0; i < 25; i++) { mock.timers.tick(1000); connection.tick(); }
  assert.deepEqual(first.sent, [{ action: 'ping' }]);
  for (let i = 0; i < 10; i++) { mock.timers.tick(1000); connection.tick(); }
  assert.equal(seen.statuses.at(-1).state, 'live');
  mock.timers.tick(1000);
  connection.tick();
  assert.equal(seen.statuses.at(-1).state, 'waiting');
  assert.ok(first.closed);
  first.say({ eventType: 'tvl_change', position: '1-0' });
  assert.equal(seen.events.length, 0);
});

test('late timers of a hidden tab are no silence', () => {
  const { connection, seen } = start();
  last().say(welcome);
  last().say({ type: 'pong', timestamp: Date.now() });
  mock.timers.tick(60_000);
  connection.tick();
  assert.equal(seen.statuses.at(-1).state, 'live');
  assert.deepEqual(last().sent.at(-1), { action: 'ping' });
});

test('messages keep the connection alive where timers do not run', () => {
  start();
  last().say(welcome);
  last().say({ type: 'pong', timestamp: Date.now() });
  last().sent.length = 0;
  mock.timers.tick(40_000);
  last().say({ eventType: 'tvl_change', position: '101-0' });
  assert.deepEqual(last().sent, [{ action: 'ping' }]);
});

test('a gateway that does not say welcome is left', () => {
  const { connection, seen } = start();
  mock.timers.tick(10_001);
  connection.tick();
  assert.equal(seen.statuses.at(-1).state, 'waiting');
});

test('another selection gives up the channel before', () => {
  const { connection } = start();
  last().say(welcome);
  last().sent.length = 0;
  connection.follow('events:protocol:1');
  connection.follow('events:protocol:1');
  connection.follow('events:token:bitcoin');
  connection.follow(null);
  assert.deepEqual(last().sent, [{ action: 'subscribe', channel: 'events:protocol:1' }, { action: 'unsubscribe', channel: 'events:protocol:1' },
    { action: 'subscribe', channel: 'events:token:bitcoin' }, { action: 'unsubscribe', channel: 'events:token:bitcoin' }]);
});

test('nonsense is ignored', () => {
  const { seen } = start();
  last().onmessage({ data: 'no json' });
  last().say({ type: 'news' });
  assert.deepEqual([seen.events, seen.snapshots, seen.messages], [[], [], []]);
});
