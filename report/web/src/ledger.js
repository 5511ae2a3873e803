/**
 * ledger.js - every resident page's cause, over time
 */
import {AXIS, TOP, areas} from './areas.js';
import {byId, fill, h} from './dom.js';
import {
  bytes, bytesData, changeInScale, clock, count, duration, inScale, scaleOf,
  several, share,
} from './format.js';
import {drawLeaders, labels} from './labels.js';
import {drawCensuses, drawGc, drawMarks, halo} from './lanes.js';
import {
  LAYERS, isCauseShown, isUnpinned, totalsAt, unpinned,
} from './layers.js';
import {choose, state} from './state.js';
import {folded, table} from './table.js';
import {colour, swatch} from './theme.js';
import {word} from './words.js';

const HEIGHT = 296;
const GC_LANE = 52;
const CENSUS_LANE = 26;

/** @typedef {import('./main.js').Shown} Shown */

/* ---- six values --------------------------------------------------------- */

/** @param {Shown} shown */
function sixValues(shown) {
  const {process, layers, at} = shown;
  const {t_us: times} = process.censuses;
  const first = totalsAt(layers, process, 0);
  const last = totalsAt(layers, process, at);
  const scale = scaleOf(shown.greatest);
  /**
   * @param {import('./dom.js').Children} name
   * @param {number} from
   * @param {number} to
   */
  const pair = (name, from, to) => h('div', null, h('dt', null, name),
    h('dd', null, `${inScale(from, scale)} → ${inScale(to, scale)}` +
      `\u00a0${scale.unit} `,
    h('small', null, changeInScale(to - from, scale))));
  const full = process.gc.find((row) => row.generation === 2);
  return h('dl', {class: 'stats'},
    h('div', null, h('dt', null, 'first census to this'),
      h('dd', null, `${shown.when(times[0])} – ${shown.when(times[at])}`)),
    pair(word('RSS'), first.rss, last.rss),
    pair(word('needed'), first.needed, last.needed),
    pair(word('held'), first.held, last.held),
    pair(word('unexplained'), first.unexplained, last.unexplained),
    full && h('div', null, h('dt', null, 'full collections'),
      h('dd', null, count(full.collections), ' ',
        full.collections !== 0 && h('small', null,
          `${duration(full.pause_us_total)} paused`))));
}

/* ---- the chart ---------------------------------------------------------- */

/**
 * @param {Shown} shown
 * @returns {import('./labels.js').Label[]} the lowest first
 */
function labelsOf(shown) {
  const {process, layers, iso} = shown;
  const last = process.censuses.t_us.length - 1;
  let below = 0;
  /** @type {import('./labels.js').Label[]} */
  const all = layers.map((layer) => {
    const value = layer.values[last] ?? 0;
    const isAlone = iso === layer;
    const height = iso === null ? below + value / 2
      : isAlone ? value / 2 : null;
    below += value;
    return {...layer, kind: 'area', isOff: iso !== null && !isAlone, height};
  });
  if (iso !== null)
    return all;
  const edge = unpinned(layers, process);
  if (edge !== null) {
    const above = all.findIndex(({height}) => (height ?? 0) > edge[last]);
    all.splice(above < 0 ? all.length : above, 0, {
      name: 'if nothing were pinned',
      kind: 'edge',
      height: edge[last],
      values: edge,
    });
  }
  all.push({
    name: 'RSS',
    kind: 'line',
    height: process.censuses.rss_bytes[last],
    values: process.censuses.rss_bytes,
  });
  return all;
}

/**
 * Holes and free pools, which stand side by side; null where there are none.
 *
 * @param {import('./layers.js').MeasuredLayer[]} layers
 * @returns {[number, number] | null}
 */
function heldRange(layers) {
  const isGone = layers.map(isUnpinned);
  const first = isGone.indexOf(true);
  return first < 0 ? null : [first, isGone.lastIndexOf(true)];
}

/** @param {Shown} shown */
function describe(shown) {
  const {process, layers, at} = shown;
  const {t_us: times} = process.censuses;
  const first = totalsAt(layers, process, 0);
  const last = totalsAt(layers, process, at);
  return `Resident memory by cause from ${shown.when(times[0])} to ` +
    `${shown.when(times[at])}: RSS from ${bytes(first.rss)} to ` +
    `${bytes(last.rss)}, highest ${bytes(shown.greatest)}; at the end ` +
    `${bytes(last.needed)} needed, ${bytes(last.held)} held. Arrow keys move ` +
    'from census to census; the values are in the table below.';
}

/**
 * @param {import('./areas.js').Pen} pen
 * @param {Shown} shown
 */
function drawLanes(pen, shown) {
  const hasGc = shown.process.collections.t_us.length > 0;
  const top = pen.bottom + AXIS;
  if (hasGc)
    drawGc(pen, top, shown.process.collections);
  drawCensuses(pen, top + (hasGc ? GC_LANE : 0), shown.process.censuses);
  drawMarks(pen, shown.marks);
  if (shown.iso !== null) {
    pen.context.textAlign = 'left';
    halo(pen.context, `${shown.iso.name} alone; Esc or its label for all`,
      pen.left + 8, pen.top + 12);
  }
}

/** @param {Shown} shown */
function gcCaption(shown) {
  const full = shown.process.gc.find((row) => row.generation === 2);
  if (!full || shown.process.collections.t_us.length === 0)
    return null;
  return h('div', {
    class: 'lane-note',
    style: {top: `${TOP + HEIGHT + AXIS + 6}px`},
  }, h('b', null, several(full.collections, 'full collection')), h('br', null),
  `${duration(full.pause_us_total)} paused; height is the pause, log`);
}

/**
 * @param {HTMLElement} host
 * @param {Shown} shown
 */
function chart(host, shown) {
  const {process, layers, iso} = shown;
  const {censuses} = process;
  const hasGc = process.collections.t_us.length > 0;
  const greatest = iso === null ? shown.greatest
    : Math.max(1, ...iso.values.map((value) => value ?? 0));
  const scale = scaleOf(greatest);
  const names = labelsOf(shown);
  const column = h('div', {class: 'labs'});
  const box = h('div', {class: 'ch'}, column, gcCaption(shown));
  let show = /** @type {(at: number | null) => void} */ (() => {});
  fill(host, box);
  return areas(box, host.clientWidth, {
    label: describe(shown),
    height: HEIGHT,
    below: (hasGc ? GC_LANE : 0) + CENSUS_LANE,
    span: shown.span,
    times: censuses.t_us,
    layers: iso === null ? layers : [iso],
    line: iso !== null ? null : {
      t_us: process.ticks.t_us,
      low: process.ticks.rss_min,
      high: process.ticks.rss_max,
      at: censuses.rss_bytes,
    },
    without: iso === null ? heldRange(layers) : null,
    greatest,
    scale,
    after: (pen) => {
      drawLanes(pen, shown);
      show = labels(column, {
        labels: names,
        placed: drawLeaders(pen, names, colour('mut')),
        scale,
        at: shown.at,
        when: (at) => `at ${shown.when(censuses.t_us[at])}`,
        isolate: (key) => choose({iso: state.iso === key ? null : key}),
      });
    },
    onCursor: (at) => {
      show(at);
      shown.point(at, 'ledger');
    },
  });
}

/* ---- tables ------------------------------------------------------------- */

/** @param {Shown} shown */
function causesTable(shown) {
  const {process, at, recording} = shown;
  const {censuses} = process;
  const peak = shown.peak;
  const of = new Map(recording.causes.map((cause, i) => [cause.word, i]));
  const rows = LAYERS.flatMap((layer) => layer.causes.map((name) =>
    ({layer, name, cause: of.get(name) ?? -1})))
    .filter(({name, cause}) =>
      isCauseShown(name, censuses.ledger[cause] ?? [], process));
  /** @param {number} census */
  const column = (census) => (/** @type {{cause: number}} */ {cause}) =>
    bytesData(censuses.ledger[cause][census]);
  const total = h('tr', {class: 'tot'}, h('td', null, 'RSS'), h('td', null),
    [0, peak, at].map((census) =>
      h('td', {class: 'num'}, bytesData(censuses.rss_bytes[census]))),
    h('td', {class: 'num'}, share(1, 1)));
  return table({
    label: 'The ledger as a table',
    rows,
    total,
    columns: [
      {
        head: 'cause',
        cell: ({layer, name}) => [h('i', {...swatchOf(layer)}),
          h('code', null, name)],
      },
      {
        head: 'what it is',
        cell: ({name, cause}) =>
          recording.causes[cause].meaning + roughness(name, process),
        of: 'mut',
      },
      {
        head: `first, ${shown.when(censuses.t_us[0])}`,
        cell: column(0),
        of: 'num',
      },
      {
        head: `peak, ${shown.when(censuses.t_us[peak])}`,
        cell: column(peak),
        of: 'num',
      },
      {
        head: `${recording.moment}, ${shown.when(censuses.t_us[at])}`,
        cell: column(at),
        of: 'num now',
      },
      {
        head: 'of RSS',
        cell: ({cause}) =>
          share(censuses.ledger[cause][at], censuses.rss_bytes[at]),
        of: 'num',
      },
    ],
  });
}

/**
 * Blocks of which nobody knows whether they are the interpreter's.
 *
 * @param {string} cause
 * @param {import('./data.js').Process} process
 */
function roughness(cause, {moment}) {
  const error = moment?.python_large_error;
  return error && (cause === 'python_large' || cause === 'native_live')
    ? `, ± ${bytes(error)} whose content was not read` : '';
}

/** @param {import('./layers.js').Layer} layer */
function swatchOf(layer) {
  const {class: hatched, style} =
    /** @type {any} */ (swatch(layer.paint));
  return {class: `sw ${hatched ?? ''}`, style};
}

/** @param {Shown} shown */
function censusTable(shown) {
  const {process, layers} = shown;
  const {censuses} = process;
  return table({
    label: 'Every census',
    rows: censuses.t_us.map((_, i) => i),
    most: 40,
    columns: [
      {
        head: 'at',
        cell: (i) => h('data', {value: censuses.t_us[i]},
          clock(censuses.t_us[i], 3)),
      },
      {head: 'taken for', cell: (i) => censuses.kind[i]},
      ...layers.map((layer) => ({
        head: layer.name,
        cell: (/** @type {number} */ i) => bytesData(layer.values[i]),
        of: 'num',
      })),
      {
        head: 'RSS',
        cell: (i) => bytesData(censuses.rss_bytes[i]),
        of: 'num now',
      },
    ],
  });
}

/* ---- the section -------------------------------------------------------- */

/** @param {Shown} shown */
export function ledger(shown) {
  const host = byId('ledger');
  const {process} = shown;
  if (process.censuses.t_us.length === 0 && process.ticks.t_us.length === 0) {
    fill(host, h('p', {class: 'mut'},
      'This process came and went before anything was read of it.'));
    return null;
  }
  const place = h('div', null);
  const hasCensus = process.moment !== undefined;
  fill(host, hasCensus && sixValues(shown), place,
    hasCensus && folded('The ledger as a table', () => causesTable(shown)),
    hasCensus && folded('Every census as a table', () => censusTable(shown)),
    shown.marks.length > 0 && folded('Marks', () => marksTable(shown)));
  return chart(place, shown);
}

/** @param {Shown} shown */
function marksTable(shown) {
  return table({
    label: 'Marks',
    rows: shown.marks,
    most: 40,
    columns: [
      {head: 'at', cell: ({t_us: t}) => clock(t, 3), width: '90px'},
      {head: 'mark', cell: ({text}) => text},
    ],
  });
}
