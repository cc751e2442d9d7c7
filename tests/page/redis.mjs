// As much of a Redis client as the tests need: it appends events to the log, as the processor does.
import net from 'node:net';

/** A connection that sends commands in a pipeline. */
export class Redis {
  /** @param {string} url such as `redis://127.0.0.1:6379` */
  constructor(url) {
    const { hostname, port, password, username } = new URL(url);
    this.waiting = [];
    this.buffer = '';
    this.socket = net.connect(Number(port || 6379), hostname);
    this.socket.setNoDelay(true);
    this.socket.setEncoding('utf8');
    this.socket.on('data', (data) => this.read(data));
    this.socket.on('error', (error) => this.fail(error));
    this.socket.on('close', () => this.fail(new Error('Redis closed the connection')));
    if (password) this.command(...['AUTH', ...(username ? [decodeURIComponent(username)] : []), decodeURIComponent(password)]);
  }

  /** Sends a command; the answer is a text, a number or null. */
  command(...args) {
    const parts = args.map((arg) => `$${Buffer.byteLength(arg)}\r\n${arg}\r\n`);
    this.socket.write(`*${args.length}\r\n${parts.join('')}`);
    return new Promise((resolve, reject) => this.waiting.push({ resolve, reject }));
  }

  /** Appends an event to the log and returns its position. @param {object} event */
  publish(event) {
    return this.command('XADD', 'events:log', '*', 'event', JSON.stringify(event));
  }

  close() {
    this.socket.removeAllListeners('close');
    this.socket.end();
  }

  // Only simple answers: status, error, number, text. None of them contains a line break here.
  read(data) {
    this.buffer += data;
    for (;;) {
      const end = this.buffer.indexOf('\r\n');
      if (end < 0) return;
      const line = this.buffer.slice(0, end);
      let rest = end + 2;
      let answer = line.slice(1);
      if (line[0] === '$' && answer !== '-1') {
        const close = this.buffer.indexOf('\r\n', rest);
        if (close < 0) return;
        answer = this.buffer.slice(rest, close);
        rest = close + 2;
      }
      this.buffer = this.buffer.slice(rest);
      const { resolve, reject } = this.waiting.shift() ?? {};
      if (line[0] === '-') reject?.(new Error(answer));
      else resolve?.(line === '$-1' ? null : answer);
    }
  }

  fail(error) {
    for (const { reject } of this.waiting.splice(0)) reject(error);
  }
}
