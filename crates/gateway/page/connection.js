// The WebSocket to the gateway: subscriptions, positions, pings and new attempts. It follows docs/live.md and knows
// nothing about what the page shows.

const EVERYTHING = 'events:*';
const BACKOFF_BASE_MS = 500;
const BACKOFF_CAP_MS = 30_000;
const WELCOME_TIMEOUT_MS = 10_000;
const PONG_TIMEOUT_MS = 10_000;
// A connection that lived this long was good: the next attempt begins with a short wait again.
const STABLE_MS = 10_000;

// Close codes after which a quick new attempt would be refused or closed again.
const REFUSALS = {
  1013: 'the gateway has as many connections as it takes',
  4001: 'too many connections from this address',
  4002: 'too many channels',
  4003: 'too many messages',
};
const REASONS = {
  1001: 'the gateway saw no sign of this tab',
  1012: 'the gateway restarts',
  4004: 'this tab took nothing for 30 s',
};

/** A wait before attempt n (from 0): exponential, with full jitter, so that many clients do not come back at once. */
export function backoff(attempt, random = Math.random) {
  return random() * Math.min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** Math.min(attempt, 16));
}

/**
 * @typedef {object} Status
 * @property {'connecting' | 'live' | 'waiting'} state
 * @property {number} [retryAt] when the next attempt begins, ms of this machine's clock
 * @property {string} [reason] why the last connection ended
 * @property {boolean} [returned] whether it was live before
 */

/** One connection at a time, for as long as the page lives. */
export class Connection {
  /**
   * @param {object} options
   * @param {string} options.url
   * @param {(event: object) => void} options.onEvent
   * @param {(snapshot: object) => void} options.onSnapshot
   * @param {(message: object) => void} options.onMessage `resumed`, `gap`, `dropped` and `error`
   * @param {(status: Status) => void} options.onStatus
   */
  constructor(options) {
    this.options = options;
    this.socket = null;
    this.status = { state: 'connecting' };
    /** Position of the newest event that came through the subscription to everything. */
    this.position = null;
    this.extra = null;
    this.attempt = 0;
    this.pingSeconds = 25;
    /** The gateway's clock minus this machine's, ms. */
    this.clockOffset = 0;
    this.sentAt = 0;
    this.heardAt = 0;
    this.pingAt = 0;
    this.retryAfter = null;
    this.timer = 0;
    this.wasLive = false;
  }

  /** Connects now. */
  connect() {
    clearTimeout(this.timer);
    this.drop();
    this.setStatus({ state: 'connecting', reason: this.status.reason });
    this.openedAt = Date.now();
    this.welcomed = false;
    this.pingAt = 0;
    this.retryAfter = null;
    let socket;
    try {
      socket = new WebSocket(this.options.url);
    } catch {
      this.retry(0, '');
      return;
    }
    this.socket = socket;
    socket.onmessage = (message) => this.receive(message.data);
    socket.onclose = (close) => this.closed(close);
  }

  /** Connects at once if it waits. For when the network comes back or the page is shown again. */
  hurry() {
    if (this.status.state === 'waiting') this.connect();
    else if (this.status.state === 'live') this.ping();
  }

  /** Also follows this channel, for its state. At most one at a time; null for none. */
  follow(channel) {
    if (this.extra === channel) return;
    if (this.extra && this.live) this.send({ action: 'unsubscribe', channel: this.extra });
    this.extra = channel;
    if (channel && this.live) this.send({ action: 'subscribe', channel });
  }

  get live() {
    return this.status.state === 'live';
  }

  /** Now, by the gateway's clock. */
  now() {
    return Date.now() + this.clockOffset;
  }

  /** Once a second: pings, and notices a connection that died without a word. */
  tick() {
    const now = Date.now();
    if (!this.socket) return;
    if (!this.welcomed) {
      if (now - this.openedAt > WELCOME_TIMEOUT_MS) this.lost('the gateway did not answer in time');
    } else if (this.pingAt && now - this.pingAt > PONG_TIMEOUT_MS) {
      this.lost('the gateway went silent');
    } else if (now - this.sentAt >= this.pingSeconds * 1000) {
      this.ping();
    }
  }

  ping() {
    // A hidden page's timers run late, so the wait for the answer is measured from the ping, never from the last message.
    if (this.pingAt) return;
    this.pingAt = Date.now();
    this.send({ action: 'ping' });
  }

  send(message) {
    if (this.socket?.readyState !== 1) return;
    this.sentAt = Date.now();
    this.socket.send(JSON.stringify(message));
  }

  receive(data) {
    const now = Date.now();
    this.heardAt = now;
    // Any word is a sign of life. The clock offset needs the pong itself.
    const pingAt = this.pingAt;
    this.pingAt = 0;
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return;
    }
    if (message.eventType) {
      this.position = message.position;
      this.options.onEvent(message);
    } else {
      this.receiveOwn(message, pingAt, now);
    }
    // Messages are not throttled in a hidden tab, but timers are: a ping may be due here.
    if (now - this.sentAt > this.pingSeconds * 1500) this.ping();
  }

  receiveOwn(message, pingAt, now) {
    switch (message.type) {
      case 'welcome':
        this.welcome(message);
        break;
      case 'snapshot':
        if (message.channels?.includes(EVERYTHING)) this.position = message.position;
        this.options.onSnapshot(message);
        break;
      case 'pong':
        if (pingAt && Number.isFinite(message.timestamp)) this.clockOffset = message.timestamp - (pingAt + now) / 2;
        break;
      case 'goodbye':
        this.retryAfter = Number(message.retryAfter) || 0;
        break;
      case 'resumed':
      case 'gap':
      case 'dropped':
      case 'error':
        this.options.onMessage(message);
        break;
      default:
      // `unsubscribed`, and what a later version may add.
    }
  }

  welcome(message) {
    this.welcomed = true;
    this.liveAt = Date.now();
    if (message.pingSeconds > 0) this.pingSeconds = message.pingSeconds;
    const returned = this.wasLive;
    this.wasLive = true;
    this.setStatus({ state: 'live', returned });
    const subscribe = { action: 'subscribe', channel: EVERYTHING };
    if (this.position) subscribe.since = this.position;
    this.send(subscribe);
    // The state of the selected subject may have changed meanwhile: no `since`, so that it comes again.
    if (this.extra) this.send({ action: 'subscribe', channel: this.extra });
    this.ping();
  }

  closed({ code, reason }) {
    this.socket = null;
    const asked = this.retryAfter ?? retryAfterOf(reason);
    if (this.welcomed && Date.now() - this.liveAt > STABLE_MS) this.attempt = 0;
    let wait = backoff(this.attempt++);
    if (REFUSALS[code]) wait += BACKOFF_CAP_MS / 6;
    // The gateway spreads its clients itself.
    if (asked !== null) wait = asked + Math.random() * 250;
    const told = REFUSALS[code] ?? REASONS[code] ?? (this.retryAfter !== null ? 'the gateway restarts' : '');
    this.retry(wait, told || (this.welcomed ? 'the connection broke' : 'the gateway cannot be reached'));
  }

  lost(reason) {
    this.drop();
    if (this.welcomed && Date.now() - this.liveAt > STABLE_MS) this.attempt = 0;
    this.retry(backoff(this.attempt++), reason);
  }

  retry(wait, reason) {
    this.setStatus({ state: 'waiting', retryAt: Date.now() + wait, reason });
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.connect(), wait);
  }

  /** Forgets the socket without waiting for its end: a dead one takes minutes to close. */
  drop() {
    const { socket } = this;
    this.socket = null;
    if (!socket) return;
    socket.onmessage = socket.onclose = null;
    socket.close();
  }

  setStatus(status) {
    this.status = status;
    this.options.onStatus(status);
  }
}

/** The wait in the reason of a close frame, `retryAfter=1500`, ms; null if there is none. @param {string} reason */
export function retryAfterOf(reason) {
  const found = /(?:^|\b)retryAfter=(\d+)/.exec(reason ?? '');
  return found ? Number(found[1]) : null;
}
