// The watch list: keys of subjects with the names that they had, kept in this browser.

const KEY = 'watch';
const MAX = 200;

/** The watched subjects. Other tabs' changes arrive through `storage` events. */
export class WatchList {
  /** @param {() => void} onChange */
  constructor(onChange) {
    this.onChange = onChange;
    /** @type {Map<string, string>} key to name */
    this.names = new Map();
    this.load();
    addEventListener('storage', (event) => {
      if (event.key !== KEY && event.key !== null) return;
      this.load();
      onChange();
    });
  }

  has(key) {
    return this.names.has(key);
  }

  keys() {
    return [...this.names.keys()];
  }

  get size() {
    return this.names.size;
  }

  /** Adds or removes a subject. False if the list is full. */
  toggle(key, name) {
    if (this.names.has(key)) this.names.delete(key);
    else if (this.names.size >= MAX) return false;
    else this.names.set(key, name);
    this.save();
    this.onChange();
    return true;
  }

  load() {
    this.names.clear();
    try {
      const stored = JSON.parse(localStorage.getItem(KEY) ?? '[]');
      for (const [key, name] of stored.slice(0, MAX)) if (typeof key === 'string') this.names.set(key, String(name));
    } catch {
      // Storage can be forbidden or hold something else. The list then lasts as long as the tab.
    }
  }

  save() {
    try {
      localStorage.setItem(KEY, JSON.stringify([...this.names]));
    } catch {
      // As above.
    }
  }
}
