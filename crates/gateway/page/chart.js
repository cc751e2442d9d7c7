// The chart of a value over time, drawn as SVG: a step line, since a value holds until the next one. The colours come
// from the style sheet, so a change of the theme needs no work here. The same facts are in words in its label.

import { clock, count, dateTime, price, SCALES, usd } from './format.js';
import { el, setAttribute, setText, svg } from './dom.js';

const HEIGHT = 210;
const TOP = 10;
const BOTTOM = 24;
const RIGHT = 64;
const MINUTE = 60e3;
const HOUR = 60 * MINUTE;
const TIME_STEPS = [1e3, 2e3, 5e3, 10e3, 15e3, 30e3, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR];

/** A chart with a line of text above it that says what the pointer is at. */
export class Chart {
  constructor() {
    this.readout = el('p', { class: 'readout' });
    this.grid = svg('g', { class: 'grid' });
    this.area = svg('path', { class: 'area' });
    this.line = svg('path', { class: 'line' });
    this.dot = svg('circle', { class: 'dot', r: 3 });
    this.cross = svg('path', { class: 'cross' });
    this.drawing = svg('svg', { class: 'plot', role: 'img', height: HEIGHT }, this.grid, this.area, this.line, this.cross, this.dot);
    this.blank = el('p', { class: 'blank', text: 'The chart begins with the second value.' });
    this.node = el('div', { class: 'chart' }, this.readout, this.drawing, this.blank);
    this.times = [];
    this.values = [];
    this.pointer = NaN;
    this.width = 0;
    new ResizeObserver(([entry]) => {
      this.width = Math.floor(entry.contentRect.width);
      this.draw();
    }).observe(this.node);
    this.drawing.addEventListener('pointermove', (event) => this.point(event.offsetX));
    this.drawing.addEventListener('pointerleave', () => this.point(NaN));
  }

  /**
   * Shows values over time.
   * @param {number[]} times ms since 1970, in order
   * @param {number[]} values
   * @param {{unit: 'usd' | 'price', what: string}} about
   */
  show(times, values, { unit, what }) {
    this.times = times;
    this.values = values;
    this.unit = unit;
    const empty = times.length < 2;
    this.drawing.classList.toggle('hidden', empty);
    this.blank.hidden = !empty;
    if (empty) {
      setText(this.readout, '');
      return;
    }
    this.low = Infinity;
    this.high = -Infinity;
    for (const value of values) {
      if (value < this.low) this.low = value;
      if (value > this.high) this.high = value;
    }
    const written = this.written;
    setAttribute(this.drawing, 'aria-label', `Chart of ${what}: from ${written(values[0])} at ${dateTime(times[0])} to ` +
      `${written(values.at(-1))} at ${dateTime(times.at(-1))}. Lowest ${written(this.low)}, highest ${written(this.high)}.`);
    this.draw();
  }

  get written() {
    return this.unit === 'price' ? price : usd;
  }

  draw() {
    const { times, values, width } = this;
    if (times.length < 2 || width < 120) return;
    const room = (this.high - this.low) * 0.1 || Math.abs(this.high) * 0.01 || 1;
    const low = this.low - room;
    const high = this.high + room;
    const begin = times[0];
    const span = times.at(-1) - begin || 1;
    const right = width - RIGHT;
    const bottom = HEIGHT - BOTTOM;
    this.x = (time) => ((time - begin) / span) * right;
    this.y = (value) => bottom - ((value - low) / (high - low)) * (bottom - TOP);
    this.drawGrid(low, high, begin, begin + span, right, bottom);
    const path = this.path();
    this.line.setAttribute('d', path);
    this.area.setAttribute('d', `${path}V${bottom}H0Z`);
    this.point(this.pointer);
  }

  /** The step line. Of the values that fall into one column of pixels, it goes through the lowest and the highest. */
  path() {
    const { times, values, x, y } = this;
    let path = `M0 ${y(values[0]).toFixed(1)}`;
    let column = 0;
    let top = Infinity;
    let bottom = -Infinity;
    let last = y(values[0]);
    const flush = () => {
      if (bottom >= top) path += `H${column}${bottom > top ? `V${top.toFixed(1)}V${bottom.toFixed(1)}` : ''}V${last.toFixed(1)}`;
    };
    for (let i = 1; i < times.length; i++) {
      const at = Math.round(x(times[i]));
      if (at !== column) {
        flush();
        column = at;
        top = Infinity;
        bottom = -Infinity;
      }
      last = y(values[i]);
      if (last < top) top = last;
      if (last > bottom) bottom = last;
    }
    flush();
    return path;
  }

  drawGrid(low, high, begin, end, right, bottom) {
    const parts = [];
    const step = niceStep((high - low) / 5);
    for (let value = Math.ceil(low / step) * step; value <= high; value += step) {
      const y = Math.round(this.y(value)) + 0.5;
      parts.push(svg('path', { d: `M0 ${y}H${right}` }), label(right + 6, y + 4, 'start', this.axisLabel(value, step, high)));
    }
    const most = Math.max(2, Math.floor(right / 76));
    const every = TIME_STEPS.find((each) => (end - begin) / each <= most) ?? 12 * HOUR;
    // Aligned to local time, so that hours are whole where the reader is.
    const zone = new Date(end).getTimezoneOffset() * MINUTE;
    for (let time = Math.ceil((begin - zone) / every) * every + zone; time <= end; time += every) {
      const x = this.x(time);
      if (x > 14 && x < right - 14) parts.push(label(x, bottom + 17, 'middle', clock(time, every < MINUTE)));
    }
    this.grid.replaceChildren(...parts);
  }

  /** Labels of the axis need as many digits as tell neighbours apart. */
  axisLabel(value, step, high) {
    const fits = ([each]) => Math.abs(high) >= each;
    const [scale, unit] = (this.unit === 'price' ? null : SCALES.find(fits)) ?? [1, ''];
    const places = Math.max(0, Math.min(12, Math.ceil(-Math.log10(step / scale) - 1e-9)));
    const scaled = Math.abs(value) / scale;
    return `${value < 0 ? '−' : ''}$${scaled >= 1000 && !places ? count(scaled) : scaled.toFixed(places)}${unit}`;
  }

  /** Puts the dot at what held at this place; at the end for NaN. */
  point(x) {
    this.pointer = x;
    const { times, values } = this;
    if (times.length < 2 || !this.x) return;
    const inside = x >= 0 && x <= this.width - RIGHT;
    let i = times.length - 1;
    if (inside) while (i > 0 && this.x(times[i]) > x) i--;
    const at = inside ? x : this.x(times[i]);
    setAttribute(this.dot, 'cx', at.toFixed(1));
    setAttribute(this.dot, 'cy', this.y(values[i]).toFixed(1));
    this.cross.setAttribute('d', inside ? `M${at.toFixed(1)} ${TOP}V${HEIGHT - BOTTOM}` : '');
    const written = this.written;
    setText(this.readout, inside ? `${written(values[i])} from ${dateTime(times[i])}` : `Low ${written(this.low)} · high ${written(this.high)}`);
  }
}

function label(x, y, anchor, text) {
  return svg('text', { x: x.toFixed(1), y, 'text-anchor': anchor }, document.createTextNode(text));
}

/** The next of 1, 2, 5 times a power of ten. */
function niceStep(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].find((each) => each * power >= least) * power;
}
