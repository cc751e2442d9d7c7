// Small helpers for the DOM. Text from events only ever becomes text nodes.

/**
 * Creates an element. Keys of `attributes`: `class`, `text`, `on*` for listeners, anything else is an attribute.
 * @param {string} tag
 * @param {Record<string, unknown>} [attributes]
 * @param {...(Node | string)} children
 */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key === 'class') node.className = value;
    else if (key === 'text') node.textContent = value;
    else if (key.startsWith('on')) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? '' : value);
  }
  node.append(...children);
  return node;
}

const SVG = 'http://www.w3.org/2000/svg';

/** Creates an SVG element. @param {string} tag @param {Record<string, string | number>} attributes @param {...Node} children */
export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

/** Sets the text of an element, if it differs. Keeps its text node: at 100 events a second new nodes are garbage. */
export function setText(node, text) {
  const first = node.firstChild;
  if (!first) {
    if (text) node.append(text);
  } else if (first.data !== text) {
    first.data = text;
  }
}

/** Sets an attribute, if it differs. An empty or absent value removes it. */
export function setAttribute(node, name, value) {
  if (value === undefined || value === null || value === '') {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== value) {
    node.setAttribute(name, value);
  }
}

/** Sets the class of an element, if it differs. */
export function setClass(node, name) {
  if (node.className !== name) node.className = name;
}

/** The element with this id. */
export const byId = (id) => document.getElementById(id);
