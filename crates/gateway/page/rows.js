// One Tab stop per list: the arrow keys move between its rows, and between the buttons of a row.

/**
 * Gives a list arrow keys. A row is an element that matches `rowSelector`; its stops are the buttons in it.
 * @param {HTMLElement} list
 * @param {string} rowSelector
 * @param {{first: string}} options `first` is the selector of the button in a row where Tab arrives
 */
export function arrowKeys(list, rowSelector, { first }) {
  const rows = () => [...list.querySelectorAll(rowSelector)].filter((row) => {
    const stop = row.querySelector(first);
    return stop && !stop.closest('[hidden]');
  });
  const focus = (button) => {
    if (!button) return;
    const before = list.querySelector('button[tabindex="0"]');
    if (before) before.tabIndex = -1;
    button.tabIndex = 0;
    button.focus();
  };

  list.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const button = event.target.closest?.('button');
    const row = button?.closest(rowSelector);
    if (!row) return;
    const all = rows();
    const at = all.indexOf(row);
    const buttons = [...row.querySelectorAll('button')];
    const column = buttons.indexOf(button);
    let next;
    switch (event.key) {
      case 'ArrowDown': next = all[at + 1]?.querySelectorAll('button')[column]; break;
      case 'ArrowUp': next = all[at - 1]?.querySelectorAll('button')[column]; break;
      case 'Home': next = all[0]?.querySelector(first); break;
      case 'End': next = all.at(-1)?.querySelector(first); break;
      case 'ArrowRight': next = buttons[column + 1]; break;
      case 'ArrowLeft': next = buttons[column - 1]; break;
      default: return;
    }
    event.preventDefault();
    focus(next);
  });
}

/** Keeps exactly one Tab stop in a list whose rows came or went. */
export function oneTabStop(list, first) {
  const stop = list.querySelector('button[tabindex="0"]');
  if (stop && !stop.closest('[hidden]')) return;
  if (stop) stop.tabIndex = -1;
  for (const button of list.querySelectorAll(first)) {
    if (!button.closest('[hidden]')) {
      button.tabIndex = 0;
      return;
    }
  }
}
