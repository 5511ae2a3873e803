/**
 * classes.js - the size classes: what is used of them and what is holes
 */
import {byId, fill, h} from './dom.js';
import {bytes, bytesData, count, countData, share} from './format.js';
import {bar, table} from './table.js';
import {word} from './words.js';

const MOST = 11;

/** @typedef {import('./main.js').Shown} Shown */

/**
 * @typedef {object} Row
 * @property {number} size
 * @property {number} pools
 * @property {number} used
 * @property {number} free
 * @property {number} used_bytes
 * @property {number} free_bytes
 */

/**
 * @param {Shown} shown
 * @returns {Row[]}
 */
function rowsOf({process}) {
  return (process.moment?.classes ?? []).map(({size, pools, used, free}) => ({
    size,
    pools,
    used,
    free,
    used_bytes: used * size,
    free_bytes: free * size,
  }));
}

/** @param {Row[]} rows */
function totalRow(rows) {
  /** @param {(row: Row) => number} of */
  const total = (of) => rows.reduce((all, row) => all + of(row), 0);
  const used = total((row) => row.used_bytes);
  const free = total((row) => row.free_bytes);
  /** @param {string} text */
  const cell = (text) => h('td', {class: 'num'}, text);
  return h('tr', {class: 'tot'}, cell('all'), h('td', null),
    cell(count(total((row) => row.pools))),
    cell(count(total((row) => row.used))),
    cell(count(total((row) => row.free))),
    cell(bytes(free)), cell(share(used, used + free)));
}

/**
 * @param {number} widest
 * @returns {import('./table.js').Column<Row>[]}
 */
function columns(widest) {
  return [
    {
      head: 'class',
      cell: ({size}) => countData(size),
      of: 'num',
      width: '44px',
    },
    {
      head: 'used, then holes',
      cell: (row) => bar([['live', row.used_bytes], ['holes', row.free_bytes]],
        widest),
      width: '26%',
    },
    {head: 'pools', cell: (row) => countData(row.pools), of: 'num'},
    {head: 'used', cell: (row) => countData(row.used), of: 'num'},
    {
      head: word('hole', 'holes'),
      cell: (row) => countData(row.free),
      of: 'num',
    },
    {
      head: 'in holes',
      cell: (row) => bytesData(row.free_bytes),
      by: (row) => row.free_bytes,
      of: 'num now',
    },
    {
      head: 'occupied',
      cell: (row) => share(row.used, row.used + row.free),
      of: 'num mut',
    },
  ];
}

/** @param {Shown} shown */
export function classes(shown) {
  const host = byId('classes');
  const rows = rowsOf(shown);
  fill(host);
  if (rows.length === 0)
    return;
  const widest = Math.max(...rows.map((row) =>
    row.used_bytes + row.free_bytes));
  fill(host, table({
    label: 'Size classes',
    rows,
    most: MOST,
    sorted: 5,
    total: totalRow(rows),
    columns: columns(widest),
  }), h('p', {class: 'note'}, 'Free pools belong to no class: any class may ' +
    'take them. Here a hole counts whole; the ledger counts its resident ' +
    'part.'));
}
