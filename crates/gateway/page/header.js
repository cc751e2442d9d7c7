// The header: state of the connection, age of what is shown, events a second, pause, theme.

import { ago, clock, count, dateTime, duration, plural } from './format.js';
import { byId, setAttribute, setText, svg } from './dom.js';

const SECONDS = 60;
const MEAN_SECONDS = 5;
// A change that is published this late deserves a word, ms.
const LATE_MS = 60_000;
const STATES = { connecting: 'Connecting', live: 'Live', waiting: 'Offline' };
const THEMES = ['system', 'light', 'dark'];

/** The header. */
export class Header {
  /** @param {object} context store, now, paused, pausedAt, connection */
  constructor(context) {
    this.context = context;
    this.counts = new Array(SECONDS).fill(0);
    this.current = 0;
    this.bars = this.counts.map((_, i) => svg('rect', { x: i, width: 0.7, y: 16, height: 0 }));
    byId('pulse').append(...this.bars);
    byId('theme').addEventListener('click', () => this.nextTheme());
    this.paintTheme();
  }

  /** Counts an event. */
  event() {
    this.current++;
  }

  /** Once a second. */
  tick() {
    this.counts.push(this.current);
    this.counts.shift();
    this.current = 0;
    const recent = this.counts.slice(-MEAN_SECONDS);
    const rate = recent.reduce((sum, n) => sum + n, 0) / MEAN_SECONDS;
    setText(byId('rate'), rate < 9.95 ? rate.toFixed(1) : count(Math.round(rate)));
    const most = Math.max(8, ...this.counts);
    this.bars.forEach((bar, i) => {
      const height = ((this.counts[i] / most) * 16).toFixed(1);
      setAttribute(bar, 'height', height);
      setAttribute(bar, 'y', (16 - height).toFixed(1));
    });
    this.paintAge();
  }

  /** The age of what is shown. */
  paintAge() {
    const { store, now, paused } = this.context;
    const box = byId('age-box');
    const name = box.firstElementChild;
    const stop = paused();
    if (stop) {
      setText(name, 'Paused at');
      setText(byId('age'), `${clock(stop.at)}, ${ago(now() - stop.at)}`);
      setAttribute(box, 'title', `${plural(store.total - stop.total, 'event')} since then`);
    } else {
      const late = store.delay > LATE_MS ? `, changes published ${duration(store.delay)} late` : '';
      setText(name, 'Last event');
      setText(byId('age'), store.newestAt ? ago(now() - store.newestAt) + late : '–');
      setAttribute(box, 'title', store.newestAt ? dateTime(store.newestAt) : '');
    }
    setText(byId('pause-text'), stop ? 'Go on' : 'Pause');
    setAttribute(byId('pause'), 'title', stop ? `${plural(store.total - stop.total, 'event')} waiting (p)` : 'Stop all movement (p)');
  }

  /** @param {import('./connection.js').Status} status */
  paintState(status) {
    const node = byId('state');
    setAttribute(node, 'data-state', status.state);
    setText(byId('state-text'), STATES[status.state]);
    this.paintOffline(status);
  }

  /** The bar that says what is wrong. It counts down, so it is not a live region; `announce` tells it once. */
  paintOffline(status, reachable = '') {
    const bar = byId('offline');
    const wait = status.state === 'waiting' || (status.state === 'connecting' && status.reason);
    bar.hidden = !wait;
    if (!wait) return;
    const { store, now } = this.context;
    const age = store.newestAt ? ` What you see is from ${ago(now() - store.newestAt).replace('now', 'just now')}.` : '';
    const next = status.state === 'waiting' ? `Next attempt in ${duration(Math.max(0, status.retryAt - Date.now()) + 999)}.` : 'Trying again…';
    const reason = reachable || status.reason || 'no connection';
    setText(byId('offline-text'), `${reason[0].toUpperCase()}${reason.slice(1)}.${age} ${next}`);
  }

  get theme() {
    return document.documentElement.dataset.theme ?? 'system';
  }

  nextTheme() {
    const theme = THEMES[(THEMES.indexOf(this.theme) + 1) % THEMES.length];
    if (theme === 'system') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    try {
      if (theme === 'system') localStorage.removeItem('theme');
      else localStorage.setItem('theme', theme);
    } catch {
      // Without storage the theme lasts as long as the tab.
    }
    this.paintTheme();
  }

  paintTheme() {
    const words = `Theme: ${this.theme === 'system' ? 'as the system' : this.theme}`;
    setAttribute(byId('theme'), 'aria-label', words);
    setAttribute(byId('theme'), 'title', `${words} (t)`);
  }
}
