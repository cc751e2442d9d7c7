// Short messages below the header. They are in a live region: what is added is read out once.

import { byId, el, setText } from './dom.js';

const MAX = 3;
const STAY_MS = 30_000;

/** The list of notices. One of the same key replaces its text. */
export class Notices {
  constructor() {
    this.root = byId('notices');
    /** @type {Map<string, {node: HTMLElement, text: HTMLElement, timer: number}>} */
    this.shown = new Map();
  }

  /**
   * Shows a notice.
   * @param {string} key
   * @param {string} text
   * @param {{tone?: 'info' | 'warning', action?: {label: string, run: () => void}}} [options]
   */
  show(key, text, { tone = 'info', action } = {}) {
    let notice = this.shown.get(key);
    if (!notice) {
      if (this.shown.size >= MAX) this.dismiss(this.shown.keys().next().value);
      notice = { text: el('p'), timer: 0 };
      notice.action = el('button', { class: 'button small', type: 'button', hidden: true });
      const mark = el('span', { class: 'mark', 'aria-hidden': 'true', text: tone === 'warning' ? '!' : 'i' });
      const dismiss = el('button', {
        class: 'button square small', type: 'button', 'aria-label': 'Dismiss this notice', text: '✕', onclick: () => this.dismiss(key),
      });
      notice.node = el('div', { class: `notice ${tone}` }, mark, notice.text, notice.action, dismiss);
      this.root.append(notice.node);
      this.shown.set(key, notice);
    }
    setText(notice.text, text);
    notice.action.hidden = !action;
    if (action) {
      notice.action.textContent = action.label;
      notice.action.onclick = action.run;
    }
    clearTimeout(notice.timer);
    notice.timer = setTimeout(() => this.expire(key), STAY_MS);
  }

  /** A notice that is in use stays. */
  expire(key) {
    const notice = this.shown.get(key);
    if (!notice) return;
    if (notice.node.matches(':hover, :focus-within')) notice.timer = setTimeout(() => this.expire(key), STAY_MS / 3);
    else this.dismiss(key);
  }

  dismiss(key) {
    const notice = this.shown.get(key);
    if (!notice) return;
    clearTimeout(notice.timer);
    const focused = notice.node.contains(document.activeElement);
    notice.node.remove();
    this.shown.delete(key);
    // The focus must not fall to the top of the page.
    if (focused) byId('main').querySelector('section:not([hidden])')?.focus();
  }
}
