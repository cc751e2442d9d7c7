// Puts the parts together: messages go to the store, the store to the regions, choices to the address and back.

import { arrow, describeChanges, percent, plural, price, usd, clock } from './format.js';
import { readEvents, readState, withKey } from './api.js';
import { addInSteps, backfill } from './backfill.js';
import { Connection } from './connection.js';
import { Detail } from './detail.js';
import { byId, el, setAttribute, setText } from './dom.js';
import { Feed } from './feed.js';
import { Header } from './header.js';
import { Movers } from './movers.js';
import { Notices } from './notices.js';
import { label, positionTime, Store } from './store.js';
import { defaults, format, parse, parseSubject } from './url.js';
import { WatchList } from './watch.js';

const MAX_LOOKED_UP = 50;
const MAX_DROPPED_READ = 1000;
const FRAME_MS = 30;

const store = new Store();
const choices = parse(location.search);
let loaded = false;
let gap = false;
let pause = null;
let framed = false;
let framedAt = 0;
let announced = '';
let announceTimer = 0;
let failures = 0;

const watch = new WatchList(() => {
  pin();
  applyWatch();
});

const context = {
  store, watch, choices, schedule, select, choose, toggleWatch,
  now: () => connection.now(),
  paused: () => pause,
  loading: () => !loaded,
  connected: () => connection.live,
  narrowed: () => ['types', 'priority', 'chain', 'watched', 'q'].some((key) => choices[key] !== defaults()[key]),
  known: (key) => {
    const { kind, id } = parseSubject(key) ?? {};
    if (!kind) return null;
    const subject = store.ensure(kind, id);
    if (!subject.name && !subject.symbol) subject.describe({ protocolName: watch.names.get(key), symbol: watch.names.get(key) });
    return subject;
  },
  addPast: (event) => store.add(event, true),
  onResolved: (key) => choose({ subject: key }, false),
};

const notices = new Notices();
const connection = new Connection({
  url: `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}${withKey('/ws')}`,
  onEvent: receive,
  onSnapshot: receiveSnapshot,
  onMessage: receiveMessage,
  onStatus: receiveStatus,
});
const header = new Header(context);
const movers = new Movers(context);
const feed = new Feed(context);
const detail = new Detail(context);

// ---- What the gateway sends

function receive(event) {
  const item = store.add(event);
  if (!item) return;
  header.event();
  feed.offer(item);
  if (detail.subject) detail.take(item);
  if (item.priority === 2 && watch.has(item.subject.key)) alertOf(item);
  schedule();
}

function receiveSnapshot(snapshot) {
  store.addState(snapshot.state);
  for (const event of snapshot.events ?? []) {
    const item = store.add(event);
    if (item && detail.subject) detail.take(item);
  }
  const everything = snapshot.channels?.includes('events:*');
  if (everything && !loaded) {
    loaded = true;
    const oldest = snapshot.events?.[0]?.position ?? snapshot.position;
    store.completeSince = positionTime(oldest) || connection.now();
    backfill(store, refreshSoon).then(() => lookUpWatched());
  }
  if (everything && gap) {
    // The snapshot is the new begin of what is complete, and what is watched may have changed before it.
    gap = false;
    store.completeSince = positionTime(snapshot.events?.[0]?.position ?? snapshot.position);
    lookUpWatched(true);
  }
  if (everything) {
    feed.refill();
    if (!pause) movers.refresh();
  }
  header.paintAge();
  if (!everything) detail.stale = true;
  schedule();
}

function receiveMessage(message) {
  if (message.type === 'gap') {
    gap = true;
    const [back, now] = [positionTime(message.since), connection.now()].map((time) => clock(time, false));
    const words = `Some events are missing: the gateway could not go back to ${back}. From ${now} on, all is complete.`;
    notices.show('gap', words, { tone: 'warning' });
  } else if (message.type === 'dropped') {
    receiveDropped(message);
  } else if (message.type === 'error') {
    notices.show('error', `The gateway refused a request of this page: ${message.message}`, { tone: 'warning' });
  }
}

let droppedTotal = 0;
let droppedAt = -Infinity;
async function receiveDropped({ count: n, since }) {
  const now = performance.now();
  droppedTotal = now - droppedAt > 60_000 ? n : droppedTotal + n;
  const quiet = now - droppedAt < 10_000;
  droppedAt = now;
  const words = `${plural(droppedTotal, 'event was', 'events were')} skipped: this tab was too slow.`;
  notices.show('dropped', words, { tone: 'warning' });
  // Asking for them again is right after a hiccup, and wrong for a tab that stays too slow.
  if (quiet || n > MAX_DROPPED_READ || !since) return;
  const answer = await readEvents({ since, limit: MAX_DROPPED_READ });
  if (!answer) return;
  await addInSteps(store, answer.events);
  notices.show('dropped', `${words} They were read afterwards.`);
  refreshSoon();
}

function receiveStatus(status) {
  header.paintState(status);
  document.body.dataset.state = status.state;
  if (status.state === 'live') {
    failures = 0;
    announce(status.returned ? 'Connected again' : 'Connected');
  } else if (status.state === 'waiting') {
    failures++;
    announce(`Not connected: ${status.reason}`);
    if (failures === 2 && !connection.welcomed) explain();
  }
  movers.sortedAt = 0;
  schedule();
}

/** A browser does not tell why a WebSocket was refused. The gateway's own state tells what can be the cause. */
async function explain() {
  let words;
  try {
    const { status } = await fetch('/readyz', { cache: 'no-store' });
    words = status === 200 ? 'the gateway works, but refuses this connection' : 'the gateway is up, but does not follow the events yet';
  } catch {
    return;
  }
  if (!connection.live) connection.status.reason = words;
}

/** Tells a state to screen readers, if it lasts: a short break needs no words. */
function announce(words, wait = 1500) {
  clearTimeout(announceTimer);
  announceTimer = setTimeout(() => {
    if (words === announced) return;
    announced = words;
    setText(byId('announce'), words);
  }, wait);
}

function alertOf(item) {
  const name = label(item.subject);
  const value = item.kind === 'tvl' ? usd(item.now) : price(item.now);
  const where = item.chain ? ` on ${item.chain}` : '';
  const words = item.kind === 'update' ? `${name}: ${describeChanges(item.changes)}`
    : `${name}: ${arrow(item.percent)} ${percent(item.percent)} to ${value}${where}`;
  notices.show(`alert ${item.subject.key}`, `★ ${words}`, { action: { label: 'Open', run: () => select(item.subject.key) } });
}

// ---- Frames and seconds

/** Asks for a frame. Thirty a second are enough to the eye, and leave the machine to its owner. */
function schedule() {
  if (framed) return;
  framed = true;
  const wait = framedAt + FRAME_MS - performance.now();
  if (wait > 4) setTimeout(requestAnimationFrame, wait, frame);
  else requestAnimationFrame(frame);
}

function frame() {
  framed = false;
  framedAt = performance.now();
  const { dirty } = store;
  if (!pause) {
    movers.paint(dirty);
    feed.paint();
    detail.paint(dirty);
  }
  if (detail.stale) detail.paintAll();
  dirty.clear();
}

function tick() {
  connection.tick();
  header.tick();
  header.paintOffline(connection.status);
  // The title is what is left to see of a hidden tab.
  paintTitle();
  if (document.hidden) return;
  feed.tick();
  detail.tick();
  paintChains();
  if (!pause) schedule();
}

let refreshTimer = 0;
function refreshSoon() {
  clearTimeout(refreshTimer);
  refreshTimer = setTimeout(() => {
    movers.sortedAt = 0;
    detail.slowAt = -Infinity;
    schedule();
  }, 100);
}

function paintTitle() {
  const { subject } = detail;
  if (pause) return;
  const value = subject && Number.isFinite(subject.value) ? (subject.kind === 'token' ? price : usd)(subject.value) : '';
  const title = subject ? `${label(subject)} ${value} · DeFi Live` : 'DeFi Live';
  if (document.title !== title) document.title = title;
}

// ---- Choices

/** Changes choices, and the address with them. `push` makes a step that the back button undoes. */
function choose(patch, push) {
  Object.assign(choices, patch);
  clearTimeout(addressTimer);
  // Browsers allow few changes of the address a second, fewer than some people type.
  if (push) writeAddress(true);
  else addressTimer = setTimeout(writeAddress, 300);
  apply();
}

let addressTimer = 0;
function writeAddress(push = false) {
  const address = location.pathname + format(choices);
  if (address !== location.pathname + location.search) history[push ? 'pushState' : 'replaceState'](null, '', address);
}

function select(key) {
  const narrow = getComputedStyle(byId('tabs')).display !== 'none';
  announce(`Opened ${label(store.subjects.get(key) ?? { id: key })}`, 0);
  choose({ subject: key, part: choices.subject === key ? choices.part : '', ...(narrow ? { tab: 'detail' } : {}) }, true);
  if (narrow) byId('detail').focus({ preventScroll: true });
}

function apply() {
  for (const name of ['view', 'window', 'kind', 'unit']) {
    for (const input of document.getElementsByName(name)) input.checked = input.value === choices[name];
  }
  const types = choices.types.split(',');
  for (const input of document.getElementsByName('types')) input.checked = types.includes(input.value);
  byId('watched').checked = choices.watched === '1';
  byId('priority').value = choices.priority;
  paintChains(true);
  if (byId('search').value !== choices.q) byId('search').value = choices.q;
  byId('main').dataset.tab = choices.tab;
  for (const button of byId('tabs').children) setAttribute(button, 'aria-current', button.dataset.tab === choices.tab ? 'true' : null);
  pin();
  detail.select(choices.subject);
  followSoon();
  if (detail.subject) detail.paintSlow();
  movers.refresh();
  feed.refill();
  paintTitle();
}

let followTimer = 0;
/** Subscribes to what is selected. Not at once: the gateway closes a connection of more than 20 messages a second. */
function followSoon() {
  clearTimeout(followTimer);
  followTimer = setTimeout(() => connection.follow(detail.channel), connection.live ? 120 : 0);
}

function applyWatch() {
  setText(byId('watch-count'), watch.size ? String(watch.size) : '');
  movers.refresh();
  detail.paintHead();
  if (choices.watched) feed.refill();
}

function pin() {
  store.pinned = new Set([...watch.keys(), choices.subject]);
}

function toggleWatch(subject) {
  if (!watch.toggle(subject.key, label(subject))) notices.show('watch', 'The watch list is full: 200 is the most it holds.', { tone: 'warning' });
}

/** Values of watched subjects that no event has told. */
async function lookUpWatched(all = false) {
  for (const key of watch.keys().slice(0, MAX_LOOKED_UP)) {
    const { kind, id } = parseSubject(key) ?? {};
    if (!kind || (!all && Number.isFinite(store.subjects.get(key)?.value))) continue;
    const value = await readState(kind, id);
    if (value) store.addState({ [key]: value });
    refreshSoon();
  }
}

let chainsShown = 0;
function paintChains(force = false) {
  const list = byId('chain');
  const missing = choices.chain && choices.chain !== 'total' && !store.chains.has(choices.chain);
  if (missing) store.chains.add(choices.chain);
  if ((force || document.activeElement !== list) && store.chains.size !== chainsShown) {
    chainsShown = store.chains.size;
    list.replaceChildren(list.options[0], list.options[1], ...[...store.chains].sort().map((chain) => el('option', { value: chain, text: chain })));
  }
  if (list.value !== choices.chain) list.value = choices.chain;
}

function togglePause() {
  pause = pause ? null : { at: connection.now(), total: store.total, items: store.newest(Infinity, () => true) };
  document.body.dataset.paused = pause ? 'true' : 'false';
  setAttribute(byId('pause'), 'aria-pressed', String(!!pause));
  header.paintAge();
  feed.refill();
  if (!pause) {
    movers.refresh();
    if (detail.subject) detail.paintSlow();
  }
}

function showTab(tab, focus) {
  choose({ tab }, true);
  if (focus) byId(tab).focus({ preventScroll: true });
}

for (const name of ['view', 'window', 'kind', 'unit']) {
  byId(name).addEventListener('change', (event) => choose({ [name]: event.target.value }, true));
}
byId('types').addEventListener('change', () => {
  const types = [...document.getElementsByName('types')].filter((input) => input.checked).map((input) => input.value).join(',');
  choose({ types, watched: byId('watched').checked ? '1' : '' }, true);
});
byId('priority').addEventListener('change', (event) => choose({ priority: event.target.value }, true));
byId('chain').addEventListener('change', (event) => choose({ chain: event.target.value }, true));
byId('search').addEventListener('input', (event) => choose({ q: event.target.value }, false));
byId('search-form').addEventListener('submit', (event) => {
  event.preventDefault();
  const first = choices.q.trim() && movers.first();
  if (first) select(first);
});
byId('pause').addEventListener('click', togglePause);
byId('retry').addEventListener('click', () => connection.connect());
for (const button of byId('tabs').children) button.addEventListener('click', () => showTab(button.dataset.tab, false));
addEventListener('popstate', () => {
  Object.assign(choices, parse(location.search));
  apply();
});

// ---- Keys

const dialog = byId('help-dialog');
byId('help').addEventListener('click', () => dialog.showModal());
byId('help-close').addEventListener('click', () => dialog.close());
const shortcuts = byId('shortcuts');
try {
  shortcuts.checked = localStorage.getItem('shortcuts') !== 'off';
} catch {
  shortcuts.checked = true;
}
shortcuts.addEventListener('change', () => {
  try {
    localStorage.setItem('shortcuts', shortcuts.checked ? 'on' : 'off');
  } catch {
    // Without storage the choice lasts as long as the tab.
  }
});

const KEYS = {
  '/': () => byId('search').focus(),
  p: togglePause,
  t: () => header.nextTheme(),
  w: (target) => {
    const row = target.closest?.('#lists tr, #feed-list li');
    const subject = row ? (movers.subjectOf(row) ?? feed.byNode.get(row)?.item?.subject) : detail.subject;
    if (subject) toggleWatch(subject);
  },
  1: () => showTab('movers', true),
  2: () => showTab('feed', true),
  3: () => showTab('detail', true),
  '?': () => dialog.showModal(),
};

addEventListener('keydown', (event) => {
  if (dialog.open || event.defaultPrevented) return;
  if (event.key === 'Escape') {
    if (choices.q) choose({ q: '' }, false);
    else if (choices.subject) choose({ subject: '', part: '' }, true);
    return;
  }
  if (event.target === byId('search') && event.key === 'ArrowDown') {
    event.preventDefault();
    document.querySelector('#lists section:not([hidden]) .open[tabindex="0"]')?.focus();
    return;
  }
  const typing = event.target.matches?.('select, textarea, input:not([type="checkbox"]):not([type="radio"])');
  if (typing || !shortcuts.checked || event.ctrlKey || event.metaKey || event.altKey) return;
  const run = KEYS[event.key];
  if (!run) return;
  event.preventDefault();
  run(event.target);
});

// ---- Life of the page

document.addEventListener('visibilitychange', () => {
  if (document.hidden) return;
  connection.hurry();
  movers.sortedAt = 0;
  schedule();
});
addEventListener('online', () => connection.hurry());
addEventListener('pageshow', (event) => event.persisted && connection.connect());

apply();
applyWatch();
connection.connect();
setInterval(tick, 1000);
