/**
 * lanes.js - what is drawn around a chart's areas: collections, censuses, marks
 *
 * @typedef {import('./areas.js').Pen} Pen
 */
import {colour, isNarrow} from './theme.js';

const GC_HEIGHT = 40;

/**
 * Text that stands clear of what is under it.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {string} text
 * @param {number} x
 * @param {number} y
 */
export function halo(context, text, x, y) {
  context.save();
  context.lineWidth = 4;
  context.lineJoin = 'round';
  context.strokeStyle = colour('bg');
  context.strokeText(text, x, y);
  context.fillStyle = colour('fg');
  context.fillText(text, x, y);
  context.restore();
}

/**
 * @param {Pen} pen
 * @param {string} name
 * @param {number} y
 */
function laneName({context, left}, name, y) {
  context.textAlign = 'right';
  context.fillStyle = colour('mut');
  context.fillText(name, left - 8, y);
}

/**
 * Collections of the generations 1 (small) and 2 (tall); the height is the
 * logarithm of the pause, from 50 µs up.
 *
 * @param {Pen} pen
 * @param {number} top
 * @param {import('./data.js').Process['collections']} collections
 */
export function drawGc(pen, top, collections) {
  const {context, left, right} = pen;
  const bottom = top + GC_HEIGHT;
  const longest = Math.max(100, ...collections.pause_us);
  /** @param {number} pause */
  const heightOf = (pause) => 4 + (GC_HEIGHT - 6) *
    Math.max(0, Math.log(pause / 50) / Math.log(longest / 50));
  laneName(pen, 'GC', top + GC_HEIGHT / 2);
  for (const generation of [1, 2]) {
    const isFull = generation === 2;
    context.fillStyle = colour(isFull ? 'fg' : 'other');
    context.globalAlpha = isFull ? 1 : .55;
    collections.t_us.forEach((t, i) => {
      const x = Math.round(pen.x(t));
      if (collections.generation[i] !== generation || x < left || x > right)
        return;
      const height = heightOf(collections.pause_us[i]);
      context.fillRect(isFull ? x - 1 : x, bottom - height, isFull ? 2 : 1,
        height);
    });
  }
  context.globalAlpha = 1;
  context.fillStyle = colour('line');
  context.fillRect(left, bottom, right - left, 1);
}

/**
 * When the heap was read: the moments at which the layers are exact.
 *
 * @param {Pen} pen
 * @param {number} top
 * @param {import('./data.js').Censuses} censuses
 */
export function drawCensuses(pen, top, censuses) {
  const {context} = pen;
  laneName(pen, isNarrow() ? 'read' : 'census', top + 8);
  censuses.t_us.forEach((t, i) => {
    const isPlain = censuses.kind[i] === 'periodic';
    context.fillStyle = colour(isPlain ? 'mut' : 'fg');
    context.globalAlpha = isPlain ? .6 : 1;
    context.fillRect(Math.round(pen.x(t)), top + (isPlain ? 6 : 3), 1,
      isPlain ? 5 : 8);
  });
  context.globalAlpha = 1;
}

/**
 * A text cut to a width, or '' where too little of it would be left.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {string} text
 * @param {number} width
 * @returns {string}
 */
function cut(context, text, width) {
  if (context.measureText(text).width <= width)
    return text;
  let n = text.length;
  while (n > 4 && context.measureText(text.slice(0, n) + '…').width > width)
    n--;
  return n > 4 ? text.slice(0, n).trimEnd() + '…' : '';
}

/**
 * A line through the plot and a flag on it.
 *
 * @param {Pen} pen
 * @param {number} x
 */
function drawFlag({context, top, bottom}, x) {
  const y = top - 10;
  context.fillStyle = context.strokeStyle = colour('fg');
  context.lineWidth = 1;
  context.globalAlpha = .35;
  context.beginPath();
  context.moveTo(x, top);
  context.lineTo(x, bottom);
  context.stroke();
  context.globalAlpha = 1;
  context.beginPath();
  context.moveTo(x, y);
  context.lineTo(x, top + 6);
  context.stroke();
  context.beginPath();
  context.moveTo(x, y - 4);
  context.lineTo(x + 5, y);
  context.lineTo(x, y + 4);
  context.fill();
}

/**
 * Flags over the plot, each with as much of its text as there is room for
 * before the next one; the table has all of it.
 *
 * @param {Pen} pen
 * @param {{t_us: number, text: string | null}[]} marks
 */
export function drawMarks(pen, marks) {
  const {context, top, left, right} = pen;
  const flags = marks.map(({t_us: t, text}) =>
    ({x: Math.round(pen.x(t)) + .5, text: text ?? ''}))
    .filter(({x}) => x >= left && x <= right);
  flags.forEach(({x, text}, i) => {
    const next = flags[i + 1]?.x ?? right;
    drawFlag(pen, x);
    context.textAlign = 'left';
    halo(context, cut(context, text, next - x - 14), x + 9, top - 9.5);
  });
}
