/**
 * processes.js - every process of the recording: lanes on one clock, a table
 */
import {Chart, SECONDS, clockTicks, gutters} from './areas.js';
import {endOf} from './data.js';
import {byId, fill, h} from './dom.js';
import {bytes, bytesData, clock, duration, several} from './format.js';
import {layersOf, totalsAt} from './layers.js';
import {halo} from './lanes.js';
import {choose} from './state.js';
import {table} from './table.js';
import {colour, font, isNarrow} from './theme.js';

const MOST_LANES = 8;
const LEAST_LANE = .02; /* of the highest peak: less is a line */
const LEAST_EXIT = .05; /* of it: less is not worth a word */
const MOST_ROWS = 12;
const LANE = 35;
const AXIS = 26;

/** @typedef {import('./main.js').Shown} Shown */
/** @typedef {import('./data.js').Process} Process */

/**
 * The highest RSS that is known of a process.
 *
 * @param {Process} process
 * @returns {number | null}
 */
export function peakOf({vm_hwm_bytes: mark, ticks, censuses}) {
  const known = [mark, ...ticks.rss_max, ...censuses.rss_bytes]
    .map((value) => value ?? -1);
  const peak = Math.max(...known);
  return peak < 0 ? null : peak;
}

/* ---- lanes -------------------------------------------------------------- */

/**
 * RSS as points, ticks and censuses both: short processes have no tick.
 *
 * @param {Process} process
 * @returns {[number, number][]}
 */
function pointsOf({ticks, censuses}) {
  /** @type {[number, number][]} */
  const points = [];
  ticks.t_us.forEach((t, i) => {
    const value = ticks.rss_max[i];
    if (value !== null)
      points.push([t, value]);
  });
  censuses.t_us.forEach((t, i) => points.push([t, censuses.rss_bytes[i]]));
  return points.sort((a, b) => a[0] - b[0]);
}

/**
 * The largest ones, and the one shown, in order of start.
 *
 * @param {Shown} shown
 * @returns {Process[]}
 */
function lanesOf(shown) {
  const all = shown.recording.processes;
  /** @param {Process} process */
  const peak = (process) => peakOf(process) ?? 0;
  const least = LEAST_LANE * Math.max(...all.map(peak));
  const largest = all.filter((process) => peak(process) >= least)
    .sort((a, b) => peak(b) - peak(a))
    .slice(0, MOST_LANES);
  return all.filter((process) =>
    largest.includes(process) || process === shown.process);
}

/**
 * @param {any} u
 * @param {Shown} shown
 * @param {Process[]} lanes
 */
function drawLanes(u, shown, lanes) {
  const {ctx: context} = u;
  const ratio = Chart.pxRatio;
  const left = u.bbox.left / ratio;
  const right = left + u.bbox.width / ratio;
  const greatest = Math.max(1, ...lanes.map((lane) => peakOf(lane) ?? 0));
  /** @param {number} t */
  const x = (t) => u.valToPos(t / 1e6, 'x', true) / ratio;
  context.save();
  context.scale(ratio, ratio);
  context.font = font();
  context.textBaseline = 'middle';
  lanes.forEach((lane, i) => {
    const bottom = (i + 1) * LANE;
    const points = pointsOf(lane);
    const end = endOf(lane);
    const isShown = lane === shown.process;
    /** @param {number} value */
    const y = (value) => bottom - value / greatest * (LANE - 7);
    const from = x(lane.start_us);
    const to = Math.max(x(end), from + 2);
    context.beginPath();
    context.moveTo(from, bottom);
    points.forEach(([t, value], k) =>
      context.lineTo(k === 0 ? from : x(t), y(value)));
    context.lineTo(to, points.length > 0 ? y(points[points.length - 1][1])
      : bottom);
    context.lineTo(to, bottom);
    context.closePath();
    context.fillStyle = colour(isShown ? 'native' : 'other');
    context.globalAlpha = isShown ? .75 : .42;
    context.fill();
    context.globalAlpha = 1;
    context.fillStyle = colour(isShown ? 'mut' : 'line');
    context.fillRect(from, bottom, to - from, 1);
    const last = points.at(-1)?.[1] ?? 0;
    if (lane.end_us !== null && to < right - 4 &&
        last > LEAST_EXIT * greatest)
      drawEnd(context, to, bottom, last, right);
  });
  context.restore();
}

/**
 * A process that ended before the others: its memory went back at once.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {number} x
 * @param {number} bottom
 * @param {number} last
 * @param {number} right
 */
function drawEnd(context, x, bottom, last, right) {
  const text = `exit: ${bytes(last)} went back`;
  context.fillStyle = colour('fg');
  context.fillRect(x - 1, bottom - 18, 1.5, 18);
  context.textAlign = 'left';
  if (x + 8 + context.measureText(text).width < right)
    halo(context, text, x + 8, bottom - 10);
}

/**
 * @param {HTMLElement} host
 * @param {Shown} shown
 */
function chart(host, shown) {
  const lanes = lanesOf(shown);
  const {left, right} = gutters();
  const rest = shown.recording.processes.length - lanes.length;
  const ends = shown.recording.processes.map(endOf);
  const to = Math.max(1, shown.recording.ended_us ?? 0, ...ends) / 1e6;
  const plot = h('div', {
    class: 'plot',
    role: 'img',
    'aria-label': `RSS of ${lanes.length} processes over time; the table ` +
      'below has their values.',
  });
  const column = h('div', {class: 'labs'}, lanes.map((lane, i) => h('button', {
    class: `lab lane${lane === shown.process ? ' on' : ''}`,
    type: 'button',
    style: {top: `${i * LANE + 8}px`},
    title: 'Show this process',
    onclick: () => choose({p: lane.id, iso: null}),
  }, h('span', null, lane.name), h('u', null, lane.pid),
  h('b', null, bytes(peakOf(lane))))), rest > 0 && h('div', {
    class: 'lab',
    style: {top: `${lanes.length * LANE + 8}px`, display: 'block'},
  }, h('span', {class: 'mut'}, `and ${several(rest, 'other')}, below`)));
  fill(host, h('div', {class: 'ch'}, plot, column));
  new Chart({
    width: host.clientWidth,
    height: lanes.length * LANE + 4 + AXIS,
    padding: [0, right, 0, 0],
    legend: {show: false},
    cursor: {show: false},
    scales: {
      x: {time: false, range: () => [0, to]},
      y: {range: () => [0, 1]},
    },
    axes: [{
      stroke: () => colour('mut'),
      font: font(),
      ticks: {show: false},
      grid: {stroke: () => colour('grid'), width: 1},
      size: AXIS,
      gap: 6,
      space: isNarrow() ? 64 : 84,
      incrs: SECONDS,
      values: clockTicks([0, to * 1e6], host.clientWidth),
    }, {size: left, values: () => [], grid: {show: false},
      ticks: {show: false}}],
    series: [{}, {show: false}],
    hooks: {draw: [(/** @type {any} */ u) => drawLanes(u, shown, lanes)]},
  }, [[0, to], [0, 0]], plot);
}

/* ---- the table ---------------------------------------------------------- */

/**
 * @typedef {object} Row
 * @property {Process} process
 * @property {ReturnType<typeof totalsAt> | null} totals   null: no census
 */

/**
 * @param {Shown} shown
 * @param {Process} process
 * @returns {Row}
 */
function rowOf(shown, process) {
  const {at} = process;
  return {
    process,
    totals: at === undefined ? null
      : totalsAt(layersOf(shown.recording, process), process, at),
  };
}

/**
 * @param {Shown} shown
 * @param {Process} process
 */
function nameCell(shown, process) {
  if (shown.recording.processes.length === 1)
    return process.name;
  return h('button', {
    type: 'button',
    class: 'link',
    'aria-pressed': String(process === shown.process),
    title: 'Show this process',
    onclick: () => choose({p: process.id, iso: null}),
  }, process.name);
}

/**
 * @param {Shown} shown
 * @returns {import('./table.js').Column<Row>[]}
 */
function identityColumns(shown) {
  return [
    {head: 'program', cell: ({process}) => nameCell(shown, process)},
    {head: 'pid', cell: ({process}) => process.pid, of: 'num mut'},
    {head: 'parent', cell: ({process}) => process.ppid, of: 'num mut'},
    {head: 'CPython', cell: ({process}) => process.python, of: 'num'},
    {
      head: 'start',
      cell: ({process}) => clock(process.start_us, 3),
      of: 'num',
    },
    {
      head: 'lived',
      cell: ({process}) => process.end_us === null ? ''
        : duration(process.end_us - process.start_us),
      of: 'num',
    },
    {head: 'exit', cell: ({process}) => process.exit, of: 'num'},
  ];
}

/**
 * @param {Shown} shown
 * @returns {import('./table.js').Column<Row>[]}
 */
function memoryColumns(shown) {
  return [
    {
      head: 'VmHWM',
      cell: ({process}) => bytesData(process.vm_hwm_bytes),
      of: 'num',
      by: ({process}) => process.vm_hwm_bytes,
    },
    {
      head: `RSS at ${shown.recording.moment}`,
      cell: ({totals}) => bytesData(totals?.rss),
      of: 'num now',
      by: ({totals}) => totals?.rss,
    },
    {
      head: 'needed',
      cell: ({totals}) => bytesData(totals?.needed),
      of: 'num',
    },
    {
      head: 'held',
      cell: ({totals}) => bytesData(totals?.held),
      of: 'num',
      by: ({totals}) => totals?.held,
    },
    {
      head: 'unexplained',
      cell: ({totals}) => bytesData(totals?.unexplained),
      of: 'num',
    },
  ];
}

/** @param {Shown} shown */
export function processes(shown) {
  const host = byId('processes');
  const all = shown.recording.processes;
  const lanes = h('div', null);
  const isOne = all.length === 1;
  fill(host, lanes, table({
    label: 'Processes',
    rows: all.map((process) => rowOf(shown, process)),
    most: MOST_ROWS,
    rowClass: ({process}) =>
      process === shown.process && !isOne ? 'on' : null,
    columns: [...identityColumns(shown), ...memoryColumns(shown)],
  }), !isOne && h('p', {class: 'note'},
    `${several(all.length, 'process')}, in order of start. RSS counts shared ` +
    'pages once for each process: the sum of a column is more than the ' +
    'memory they take.'));
  if (!isOne)
    chart(lanes, shown);
}
