/**
 * labels.js - the column of names and values at the right of a chart
 *
 * A label stands at its layer's height, in stacking order, a leader between
 * them. Under the cursor the values change; the labels do not move.
 *
 * @typedef {object} Label
 * @property {string} name
 * @property {string} kind         "area", "line" or "edge"
 * @property {string} [paint]      of an area
 * @property {string} [key]        pressing it isolates this layer
 * @property {boolean} [isOff]     another layer stands alone
 * @property {number | null} height   of its leader, in the chart's values
 * @property {(number | null)[]} values   one a census
 */
import {fill, h} from './dom.js';
import {changeInScale, inScale} from './format.js';
import {isNarrow, swatch} from './theme.js';

const ROW = 18;

/**
 * Heights for labels, from the lowest up, so that none covers another: each is
 * pushed up by the one below it, and all of them down from the top again.
 *
 * @param {number[]} wanted     from the lowest label to the highest, in pixels
 * @param {number} top
 * @param {number} bottom
 * @returns {number[]}
 */
export function place(wanted, top, bottom) {
  let last = bottom + ROW / 2;
  const placed = wanted.map((y) => last = Math.min(y, last - ROW));
  let least = top;
  for (let i = placed.length - 1; i >= 0; i--) {
    placed[i] = Math.max(placed[i], least);
    least = placed[i] + ROW;
  }
  return placed;
}

/**
 * @param {import('./areas.js').Pen} pen
 * @param {Label[]} labels
 * @param {string} ink
 * @returns {number[]} where each label stands
 */
export function drawLeaders(pen, labels, ink) {
  const {context} = pen;
  const wanted = labels.map((label, i) => label.height === null
    ? pen.bottom - 9 - i * 20
    : pen.y(label.height));
  const placed = place(wanted, pen.top + 14, pen.bottom);
  if (isNarrow())
    return placed;
  context.save();
  context.strokeStyle = ink;
  context.lineWidth = 1;
  context.globalAlpha = .6;
  labels.forEach((label, i) => {
    if (label.height === null)
      return;
    context.beginPath();
    context.moveTo(pen.right + 1, wanted[i]);
    context.lineTo(pen.right + 4, wanted[i]);
    context.lineTo(pen.right + 11, placed[i]);
    context.lineTo(pen.right + 14, placed[i]);
    context.stroke();
  });
  context.restore();
  return placed;
}

/**
 * @param {Label} label
 * @param {number} y
 * @param {((key: string) => void) | undefined} isolate
 */
function rowOf(label, y, isolate) {
  const {key} = label;
  const isButton = key !== undefined && isolate !== undefined;
  const mark = h('i', label.paint ? swatch(label.paint) : null);
  const value = h('b', null);
  const change = h('u', null);
  const row = h(isButton ? 'button' : 'div', {
    class: `lab ${label.kind}${label.isOff ? ' off' : ''}`,
    type: isButton ? 'button' : null,
    title: isButton ? `${label.name} alone` : null,
    style: {top: `${y - ROW / 2}px`},
    onclick: isButton ? () => isolate(key) : null,
  }, mark, h('span', null, label.name), value, change);
  return {row, value, change};
}

/**
 * @param {HTMLElement} host
 * @param {object} spec
 * @param {Label[]} spec.labels
 * @param {number[]} spec.placed
 * @param {import('./format.js').Scale} spec.scale
 * @param {string} [spec.unit]
 * @param {number} spec.at                       the census shown at rest
 * @param {(at: number) => string} spec.when
 * @param {(key: string) => void} [spec.isolate]
 * @returns {(at: number | null) => void}        shows another census
 */
export function labels(host, spec) {
  const when = h('span', null);
  const rows = spec.labels.map((label, i) =>
    rowOf(label, spec.placed[i], spec.isolate));
  const head = h('div', {class: 'lab hd'}, h('i', null), when,
    h('b', null, spec.unit ?? spec.scale.unit), h('u', null, 'change'));

  /** @param {number | null} census */
  function show(census) {
    const at = census ?? spec.at;
    when.textContent = spec.when(at);
    rows.forEach(({value, change}, i) => {
      const {values} = spec.labels[i];
      const now = values[at];
      const first = values[0];
      value.textContent = inScale(now, spec.scale);
      change.textContent = now === null || first === null ? ''
        : changeInScale(now - first, spec.scale);
    });
  }
  fill(host, head, rows.map(({row}) => row).reverse());
  show(null);
  return show;
}
