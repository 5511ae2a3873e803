/**
 * areas.js - stacked areas under a line, drawn by uPlot
 *
 * At a census the areas are exact, between two of them their edges are
 * straight. The line is known at every tick: the topmost area fills the room up
 * to it, and no area reaches over it.
 *
 * uPlot gives the axes, the scales, the cursor and the paths; layers are handed
 * to it as sums, the topmost first, each painted over by the one below it.
 *
 * The cursor stops at censuses and nowhere between: those are the moments at
 * which the layers are known.
 *
 * @typedef {object} Area
 * @property {string} key
 * @property {string} paint
 * @property {(number | null)[]} values     one a census
 *
 * @typedef {object} AreasSpec
 * @property {string} label                 for screen readers
 * @property {number} height                of the plot itself
 * @property {number} below                 room under the axis, for lanes
 * @property {[number, number]} span        of time
 * @property {number[]} times               of the censuses
 * @property {Area[]} layers                the lowest first
 * @property {{t_us: number[], low: import('./data.js').Numbers,
 *   high: import('./data.js').Numbers, at: number[]} | null} line
 *   ticks with two values each, and its value at each census
 * @property {[number, number] | null} without   the layers that the dashed
 *   line leaves out, first and last
 * @property {number} greatest              top of the scale
 * @property {import('./format.js').Scale} scale
 * @property {(pen: Pen) => void} [after]   draws what else there is
 * @property {(at: number | null) => void} onCursor   the census it is at
 *
 * @typedef {object} Pen
 * @property {CanvasRenderingContext2D} context   in CSS pixels
 * @property {(t_us: number) => number} x
 * @property {(value: number) => number} y
 * @property {number} left
 * @property {number} right
 * @property {number} top
 * @property {number} bottom
 */
import uPlot from '../vendor/uplot/uPlot.esm.js';
import {clock} from './format.js';
import {h} from './dom.js';
import {dataOf} from './rows.js';
import {colour, font, isNarrow, paintOf} from './theme.js';

/** Without types of its own. @type {any} */
export const Chart = uPlot;

export const TOP = 26;
export const AXIS = 30;

/** Left and right of every plot, so that all of them share one clock. */
export function gutters() {
  return isNarrow() ? {left: 40, right: 6} : {left: 52, right: 248};
}

export const SECONDS = [
  .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 15, 30,
  60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400,
  172800, 345600,
];

/** Steps of an axis that counts things. */
const WHOLE = [0, 1, 2, 3, 4, 5, 6].flatMap((power) =>
  [1, 2, 5].map((n) => n * 10 ** power));

/**
 * @param {number} us
 * @returns {number} seconds: uPlot then finds round ones
 */
const seconds = (us) => us / 1e6;

/* ---- uPlot -------------------------------------------------------------- */

/**
 * Times under an axis; one that the edge of the chart would cut is left out.
 *
 * @param {[number, number]} span
 * @param {number} width
 */
export function clockTicks([from, to], width) {
  const {left, right} = gutters();
  /** @param {number} s */
  const room = (s) =>
    (to - s * 1e6) / (to - from) * (width - left - right) + right;
  return (/** @type {any} */ _, /** @type {number[]} */ splits,
    /** @type {any} */ _axis, /** @type {any} */ _space,
    /** @type {number} */ step) => {
    const digits = step >= 1 ? 0 : step >= .1 ? 1 : step >= .01 ? 2 : 3;
    return splits.map((s) =>
      room(s) < 24 ? '' : clock(Math.round(s * 1e6), digits));
  };
}

/**
 * @param {AreasSpec} spec
 * @param {number} width
 */
function axes(spec, width) {
  const {left} = gutters();
  const shared = {
    stroke: () => colour('mut'),
    font: font(),
    ticks: {show: false},
    border: {show: false},
    grid: {stroke: () => colour('grid'), width: 1},
  };
  return [{
    ...shared,
    size: AXIS + spec.below,
    gap: 6,
    space: isNarrow() ? 64 : 84,
    incrs: SECONDS,
    values: clockTicks(spec.span, width),
  }, {
    ...shared,
    size: left,
    gap: 8,
    space: spec.height < 200 ? 30 : 44,
    incrs: spec.scale.divisor === 1 ? WHOLE : undefined,
    values: (/** @type {any} */ _, /** @type {number[]} */ splits) =>
      splits.map((value) => value.toLocaleString('en-US')),
  }];
}

/** @param {AreasSpec} spec */
function series(spec) {
  const common = {spanGaps: true, points: {show: false}};
  const layers = spec.layers.map((layer) => ({
    ...common,
    pxAlign: 0,
    width: 1,
    stroke: () => colour('bg'),
    fill: (/** @type {any} */ u) => paintOf(u.ctx, layer.paint),
  })).reverse();
  const dash = [5 * Chart.pxRatio, 4 * Chart.pxRatio];
  const edge = spec.without === null ? [] : [
    {...common, width: 3.4, stroke: () => colour('bg')},
    {...common, width: 1.6, stroke: () => colour('fg'), dash},
  ];
  const line = {
    ...common,
    width: 1.75,
    stroke: () => colour('fg'),
    show: spec.line !== null,
  };
  return [{}, ...layers, ...edge, line];
}

/**
 * The census nearest to a place on the plot.
 *
 * @param {any} u
 * @param {number[]} times
 * @param {number} left
 * @returns {number | null}
 */
function nearest(u, times, left) {
  if (times.length === 0 || left < 0)
    return null;
  let best = 0;
  times.forEach((t, i) => {
    const distance = Math.abs(u.valToPos(seconds(t), 'x') - left);
    if (distance < Math.abs(u.valToPos(seconds(times[best]), 'x') - left))
      best = i;
  });
  return best;
}

/**
 * @param {AreasSpec} spec
 * @param {any} u
 * @returns {Pen}
 */
function penOf(spec, u) {
  const ratio = Chart.pxRatio;
  return {
    context: u.ctx,
    x: (t) => u.valToPos(seconds(t), 'x', true) / ratio,
    y: (value) => u.valToPos(value / spec.scale.divisor, 'y', true) / ratio,
    left: u.bbox.left / ratio,
    right: (u.bbox.left + u.bbox.width) / ratio,
    top: u.bbox.top / ratio,
    bottom: (u.bbox.top + u.bbox.height) / ratio,
  };
}

/**
 * @param {AreasSpec} spec
 * @param {any} u
 */
function drawRest(spec, u) {
  const pen = penOf(spec, u);
  u.ctx.save();
  u.ctx.scale(Chart.pxRatio, Chart.pxRatio);
  u.ctx.font = font();
  u.ctx.textBaseline = 'middle';
  u.ctx.textAlign = 'right';
  u.ctx.fillStyle = colour('mut');
  if (spec.scale.unit !== '')
    u.ctx.fillText(spec.scale.unit, pen.left - 8, 10);
  spec.after?.(pen);
  u.ctx.restore();
}

/**
 * The cursor: at the nearest census, and only there.
 *
 * @param {AreasSpec} spec
 */
function cursor({times}) {
  return {
    y: false,
    points: {show: false},
    drag: {x: false, y: false, setScale: false},
    move: (/** @type {any} */ u, /** @type {number} */ left,
      /** @type {number} */ top) => {
      const census = nearest(u, times, left);
      return [census === null ? left
        : u.valToPos(seconds(times[census]), 'x'), top];
    },
  };
}

/**
 * @param {AreasSpec} spec
 * @param {number} width
 * @param {(u: any) => void} onCursor
 */
function options(spec, width, onCursor) {
  const span = spec.span.map(seconds);
  const top = spec.greatest / spec.scale.divisor * 1.06 || 1;
  return {
    width,
    height: TOP + spec.height + AXIS + spec.below,
    padding: [TOP, gutters().right, 0, 0],
    legend: {show: false},
    scales: {
      x: {time: false, range: () => span},
      y: {range: () => [0, top]},
    },
    axes: axes(spec, width),
    series: series(spec),
    cursor: cursor(spec),
    hooks: {
      draw: [(/** @type {any} */ u) => drawRest(spec, u)],
      setCursor: [onCursor],
    },
  };
}

/**
 * A chart in host. Returns what moves its cursor, to a census or away.
 *
 * @param {HTMLElement} host
 * @param {number} width
 * @param {AreasSpec} spec
 */
export function areas(host, width, spec) {
  const {times} = spec;
  let at = /** @type {number | null} */ (null);
  const plot = h('div', {
    class: 'plot',
    style: {'--below': `${spec.below === 0 ? 0 : AXIS + spec.below}px`},
    role: 'img',
    tabindex: 0,
    'aria-label': spec.label,
  });
  host.prepend(plot);
  const chart = new Chart(options(spec, width, (u) => {
    const now = nearest(u, times, u.cursor.left ?? -1);
    if (now !== at)
      spec.onCursor(at = now);
  }), dataOf(spec), plot);

  /** @param {number | null} census */
  function move(census) {
    chart.setCursor(census === null ? {left: -10, top: -10}
      : {left: chart.valToPos(seconds(times[census]), 'x'), top: 0});
  }
  plot.addEventListener('keydown', (event) => {
    const step = {ArrowLeft: -1, ArrowRight: 1}[event.key];
    if (step === undefined || times.length === 0)
      return;
    event.preventDefault();
    const last = times.length - 1;
    move(Math.max(0, Math.min(last, (at ?? last) + step)));
  });
  return {move};
}
