/**
 * arenas.js - how many arenas there are, and how many of them are pinned
 */
import {areas} from './areas.js';
import {byId, fill, h} from './dom.js';
import {
  COUNTS, bytes, bytesData, clock, count, countData, several, share,
} from './format.js';
import {drawLeaders, labels} from './labels.js';
import {drawMarks} from './lanes.js';
import {folded, table} from './table.js';
import {colour} from './theme.js';
import {word} from './words.js';

const HEIGHT = 132;

/** @typedef {import('./main.js').Shown} Shown */

/**
 * In use, empty, pinned: they sum to all arenas.
 *
 * @param {import('./data.js').Censuses} censuses
 */
function groupsOf(censuses) {
  const {arenas: all, arenas_pinned: pinned, arenas_empty: empty} = censuses;
  return [
    {
      key: 'used',
      name: 'in use',
      paint: 'live',
      values: all.map((n, i) => n === null ? null
        : n - (pinned[i] ?? 0) - (empty[i] ?? 0)),
    },
    {key: 'empty', name: 'empty', paint: 'other', values: empty},
    {key: 'pinned', name: 'pinned', paint: 'pools', values: pinned},
  ].filter(({key, values}) => key !== 'empty' || values.some(Boolean));
}

/** @param {Shown} shown */
function facts(shown) {
  const {arenas} = /** @type {import('./data.js').Moment} */ (
    shown.process.moment);
  /**
   * @param {import('./dom.js').Children} name
   * @param {import('./dom.js').Children} value
   * @param {import('./dom.js').Children} note
   */
  const fact = (name, value, note) => h('div', null, h('dt', null, name),
    h('dd', null, value, ' ', h('small', null, note)));
  const mapped = arenas.count
    ? `${bytes((arenas.bytes ?? 0) / arenas.count)} each` : '';
  const ofResident = (/** @type {number | null} */ part) =>
    share(part, arenas.resident_bytes);
  return h('dl', {class: 'stats'},
    fact(word('arena', 'arenas'), countData(arenas.count), mapped),
    fact('resident', bytesData(arenas.resident_bytes),
      `of ${bytes(arenas.bytes)}`),
    fact(word('live'), bytesData(arenas.live_bytes),
      ofResident(arenas.live_bytes)),
    fact(word('held'), bytesData(arenas.held_bytes),
      ofResident(arenas.held_bytes)),
    fact(word('pinned'), countData(arenas.pinned),
      ['hold ', bytesData(arenas.pinned_held_bytes)]),
    fact(word('empty'), countData(arenas.empty), ''));
}

/** @param {Shown} shown */
function sentence(shown) {
  const {arenas} = /** @type {import('./data.js').Moment} */ (
    shown.process.moment);
  const {level, censuses} = shown.process;
  if (level === 'inspect' && censuses.t_us.length < 2)
    return 'One look cannot tell which arenas are pinned, and which fill up.';
  if (!arenas.pinned)
    return 'No arena is pinned: each is well used, or still filling up.';
  return `Free ${arenas.pinned_blocks === 1 ? 'this' : 'these'} ` +
    `${several(arenas.pinned_blocks, 'block')} ` +
    `(${bytes(arenas.pinned_live_bytes)}) and ` +
    `${bytes(arenas.pinned_resident_bytes)} goes back.`;
}

/**
 * @param {HTMLElement} host
 * @param {Shown} shown
 */
function chart(host, shown) {
  const {censuses} = shown.process;
  const groups = groupsOf(censuses);
  const last = censuses.t_us.length - 1;
  let below = 0;
  /** @type {import('./labels.js').Label[]} */
  const names = groups.map((group) => {
    const value = group.values[last] ?? 0;
    const height = below + value / 2;
    below += value;
    return {...group, key: undefined, kind: 'area', height};
  });
  const column = h('div', {class: 'labs'});
  const box = h('div', {class: 'ch'}, column);
  let show = /** @type {(at: number | null) => void} */ (() => {});
  fill(host, box);
  return areas(box, host.clientWidth, {
    label: `Arenas over time, ${count(censuses.arenas[shown.at])} at the ` +
      `end, ${count(censuses.arenas_pinned[shown.at])} of them pinned.`,
    height: HEIGHT,
    below: 0,
    span: shown.span,
    times: censuses.t_us,
    layers: groups,
    line: null,
    without: null,
    greatest: Math.max(1, ...censuses.arenas.map((n) => n ?? 0)),
    scale: COUNTS,
    after: (pen) => {
      drawMarks(pen, shown.marks.map(({t_us: t}) => ({t_us: t, text: ''})));
      show = labels(column, {
        labels: names,
        placed: drawLeaders(pen, names, colour('mut')),
        scale: COUNTS,
        unit: 'arenas',
        at: shown.at,
        when: (at) => `at ${shown.when(censuses.t_us[at])}`,
      });
    },
    onCursor: (at) => {
      show(at);
      shown.point(at, 'arenas');
    },
  });
}

/** @param {Shown} shown */
function countsTable(shown) {
  const {censuses} = shown.process;
  const groups = groupsOf(censuses);
  return table({
    label: 'Arenas at every census',
    rows: censuses.t_us.map((_, i) => i),
    most: 40,
    columns: [
      {head: 'at', cell: (i) => clock(censuses.t_us[i], 3), width: '90px'},
      {head: 'arenas', cell: (i) => count(censuses.arenas[i]), of: 'num'},
      ...groups.map((group) => ({
        head: group.name,
        cell: (/** @type {number} */ i) => count(group.values[i]),
        of: 'num',
      })),
    ],
  });
}

/**
 * False: this process has none to show.
 *
 * @param {Shown} shown
 */
export function hasArenas({process}) {
  return Boolean(process.moment) && process.censuses.arenas.some(Boolean);
}

/** @param {Shown} shown */
export function arenas(shown) {
  const host = byId('arenas');
  fill(host);
  if (!hasArenas(shown))
    return null;
  const place = h('div', null);
  fill(host, h('p', {class: 'big'}, sentence(shown)), facts(shown), place,
    folded('Arenas as a table', () => countsTable(shown)));
  return chart(place, shown);
}
