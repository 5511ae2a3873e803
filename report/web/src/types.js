/**
 * types.js - what lives, by type, and what of the held bytes each type holds
 */
import {byId, fill, h} from './dom.js';
import {bytesData, countData, times} from './format.js';
import {kept} from './kept.js';
import {bar, table} from './table.js';
import {word} from './words.js';

const MOST = 14;

/** @typedef {import('./main.js').Shown} Shown */
/** @typedef {import('./data.js').Type} Type */

/** @param {Type} type */
function heldBy(type) {
  return (type.held_exclusive_bytes ?? 0) + (type.held_split_bytes ?? 0);
}

/** @param {Type} type */
function leverage({held_exclusive_bytes: held, exclusive_bytes: live}) {
  return held !== null && live ? held / live : null;
}

/**
 * A column of bytes or counts that the table can be sorted by.
 *
 * @param {import('./dom.js').Children} head
 * @param {(row: Type) => number | null} by
 * @param {(n: number | null) => import('./dom.js').Children} cell
 * @param {string} [of]
 * @returns {import('./table.js').Column<Type>}
 */
function sortable(head, by, cell, of = 'num') {
  return {head, by, cell: (row) => cell(by(row)), of};
}

/**
 * @param {number} widest
 * @returns {import('./table.js').Column<Type>[]}
 */
function columns(widest) {
  return [
    {
      head: 'type',
      cell: ({name}) => h('span', {class: 'type'}, name),
      width: '20%',
    },
    {
      head: 'held: exclusive, then split',
      cell: (row) => bar([['pools', row.held_exclusive_bytes],
        ['pools', row.held_split_bytes, .45]], widest),
      width: '22%',
    },
    sortable(word('held', 'holds'), heldBy, bytesData, 'num now'),
    sortable(word('exclusive'), (row) => row.held_exclusive_bytes, bytesData),
    sortable(word('split'), (row) => row.held_split_bytes, bytesData),
    {
      head: 'live there',
      cell: (row) => row.held_exclusive_bytes
        ? bytesData(row.exclusive_bytes) : '',
      of: 'num mut',
    },
    sortable(word('leverage'), leverage, times),
    sortable('objects', (row) => row.count, countData),
    sortable('bytes', (row) => row.bytes, bytesData),
  ];
}

/** @param {Shown} shown */
export function types(shown) {
  const host = byId('types');
  const moment = shown.process.moment;
  if (!moment?.types) {
    fill(host, h('p', {class: 'mut'},
      'No census of this process reads its types.'),
    ...(moment ? kept(moment) : []));
    return;
  }
  const rest = (moment.other_types ?? []).map((row) =>
    ({...row, name: `${moment.other_types_n} other types`}));
  const rows = [...moment.types, ...rest];
  fill(host, table({
    label: 'Types',
    rows,
    most: MOST,
    sorted: 2,
    columns: columns(Math.max(1, ...rows.map(heldBy))),
  }), h('p', {class: 'note'},
    moment.types_t_us !== moment.t_us &&
      'The latest census that read all types is of ' +
      `${shown.when(moment.types_t_us ?? 0)}: this table is of then. `,
    'Bytes are those of small objects, in arenas; what an object keeps in ' +
    'malloc is not in them. (raw) is a block that is no object: a table, a ' +
    'buffer, a key.'), ...kept(moment));
}
