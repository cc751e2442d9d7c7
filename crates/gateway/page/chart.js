// The chart of a value over time: uPlot in the colours of the theme. The same facts are in words in its label.

import { clock, count, dateTime, price, usd } from './format.js';
import { el, setAttribute, setText } from './dom.js';

const HEIGHT = 210;

/** A chart in a host element. */
export class Chart {
  constructor() {
    this.readout = el('p', { class: 'readout' });
    this.host = el('div', { class: 'plot', role: 'img' });
    this.blank = el('p', { class: 'blank', text: 'The chart begins with the second value.' });
    this.node = el('div', { class: 'chart' }, this.readout, this.host, this.blank);
    this.plot = null;
    this.data = [[], []];
    this.unit = 'usd';
    new ResizeObserver(() => this.resize()).observe(this.host);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.restyle());
  }

  /**
   * Shows values over time.
   * @param {number[]} times s since 1970
   * @param {number[]} values
   * @param {{unit: 'usd' | 'price', what: string}} about
   */
  show(times, values, { unit, what }) {
    const empty = times.length < 2;
    this.host.hidden = empty;
    this.blank.hidden = !empty;
    this.data = [times, values];
    const other = unit !== this.unit;
    this.unit = unit;
    if (empty) {
      setText(this.readout, '');
      return;
    }
    const written = this.written;
    let low = Infinity;
    let high = -Infinity;
    for (const value of values) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
    this.summary = `Low ${written(low)} · high ${written(high)}`;
    setAttribute(this.host, 'aria-label', `Chart of ${what}: from ${written(values[0])} at ${dateTime(times[0] * 1000)} to ` +
      `${written(values.at(-1))} at ${dateTime(times.at(-1) * 1000)}. Lowest ${written(low)}, highest ${written(high)}.`);
    if (this.plot && !other) this.plot.setData(this.data);
    else this.restyle();
    this.paintReadout();
  }

  get written() {
    return this.unit === 'price' ? price : usd;
  }

  /** Builds the chart again, in the colours of now. */
  restyle() {
    this.plot?.destroy();
    this.plot = null;
    const width = this.host.clientWidth;
    if (!width || this.data[0].length < 2) return;
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const axis = { stroke: colour('--muted'), font: '11px ' + style.fontFamily, ticks: { show: false }, grid: { stroke: colour('--grid'), width: 1 } };
    this.plot = new window.uPlot({
      width, height: HEIGHT, legend: { show: false }, padding: [8, 4, 0, 14],
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 } },
      scales: { y: { range: (_, low, high) => padded(low, high) } },
      hooks: { setCursor: [() => this.paintReadout()] },
      axes: [
        { ...axis, grid: { show: false }, size: 26, gap: 6, space: 70, values: (_, ticks) => timeLabels(ticks) },
        { ...axis, side: 1, size: 66, space: 34, values: (_, ticks) => ticks.map((value) => this.axisLabel(value, ticks)) },
      ],
      series: [{}, {
        stroke: colour('--accent-line'), width: 1.5, fill: colour('--accent-fill'), points: { show: false },
        paths: window.uPlot.paths.stepped({ align: 1 }),
      }],
    }, this.data, this.host);
  }

  /** Labels of the axis need as many digits as tell neighbours apart. */
  axisLabel(value, ticks) {
    const step = ticks.length > 1 ? ticks[1] - ticks[0] : value;
    if (this.unit === 'price') {
      const places = Math.max(0, Math.min(12, Math.ceil(-Math.log10(step) - 1e-9)));
      return '$' + (value >= 1000 ? count(value) : value.toFixed(places));
    }
    for (const [scale, letter] of [[1e12, 'T'], [1e9, 'B'], [1e6, 'M'], [1e3, 'K']]) {
      if (Math.abs(ticks.at(-1)) >= scale) {
        const places = Math.max(0, Math.min(5, Math.ceil(-Math.log10(step / scale) - 1e-9)));
        return '$' + (value / scale).toFixed(places) + letter;
      }
    }
    return usd(value);
  }

  resize() {
    const width = this.host.clientWidth;
    if (!width) return;
    if (!this.plot) this.restyle();
    else if (this.plot.width !== width) this.plot.setSize({ width, height: HEIGHT });
  }

  paintReadout() {
    const at = this.plot?.cursor.idx;
    const value = at === null || at === undefined ? null : this.data[1][at];
    setText(this.readout, value === null || value === undefined ? this.summary ?? '' : `${dateTime(this.data[0][at] * 1000)} · ${this.written(value)}`);
  }
}

function padded(low, high) {
  if (low === null || high === null) return [0, 1];
  const room = (high - low) * 0.12 || Math.abs(high) * 0.01 || 1;
  return [low - room, high + room];
}

function timeLabels(ticks) {
  const step = ticks.length > 1 ? ticks[1] - ticks[0] : 60;
  if (step >= 86400) return ticks.map((tick) => dateTime(tick * 1000).slice(5, 10));
  return ticks.map((tick) => clock(tick * 1000, step < 60));
}
