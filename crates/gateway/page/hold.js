// Keeps a list still while somebody aims at it, so that no row slips away under a pointer or a focus.

const POINTER_MS = 2_500;

/** Tells whether a list is in use. */
export class Hold {
  /** @param {HTMLElement} node */
  constructor(node) {
    this.node = node;
    this.pointedAt = -Infinity;
    node.addEventListener('pointermove', (event) => {
      if (event.pointerType === 'mouse') this.pointedAt = performance.now();
    }, { passive: true });
    node.addEventListener('pointerleave', () => (this.pointedAt = -Infinity));
  }

  /** Whether the pointer moved over it just now, or the keyboard is in it. */
  get active() {
    return performance.now() - this.pointedAt < POINTER_MS || this.focused;
  }

  /** A click leaves the focus behind; only a focus that is seen, the keyboard's, holds. */
  get focused() {
    return this.node.contains(document.activeElement) && this.node.querySelector(':focus-visible') !== null;
  }
}
