/**
 * kept.js - what the interpreter keeps for reuse, and never returns
 */
import {h} from './dom.js';
import {bytesData, countData} from './format.js';
import {table} from './table.js';
import {word} from './words.js';

const MOST = 8;

/** @typedef {import('./data.js').Moment} Moment */

/**
 * @typedef {object} Row
 * @property {string} name
 * @property {number} count
 * @property {number} bytes
 * @property {number | null} live
 */

/**
 * @param {Moment} moment
 * @returns {Row[]}
 */
function rowsOf({blocks27, free_lists: lists}) {
  return [
    ...blocks27.map((row) => ({
      name: `blocks of ${row.name}s`,
      count: row.blocks,
      bytes: row.free_bytes,
      live: row.live_bytes,
    })),
    ...lists.filter((row) => row.count > 0).map((row) => ({
      name: `dead ${row.name}`,
      count: row.count,
      bytes: row.bytes,
      live: null,
    })),
  ];
}

/** @param {Moment} moment */
export function kept(moment) {
  const rows = rowsOf(moment);
  if (rows.length === 0)
    return [];
  const hasBlocks = moment.blocks27.length > 0;
  return [
    h('h3', {class: 'below'}, word('never returned', 'Never returned')),
    table({
      label: 'Never returned',
      rows,
      most: MOST,
      sorted: 2,
      columns: [
        {head: 'what', cell: ({name}) => h('span', {class: 'type'}, name)},
        {head: 'how many', cell: (row) => countData(row.count), of: 'num'},
        {
          head: 'kept',
          cell: (row) => bytesData(row.bytes),
          by: (row) => row.bytes,
          of: 'num now',
        },
        ...hasBlocks ? [{
          head: 'live in them',
          cell: (/** @type {Row} */ row) => bytesData(row.live),
          of: 'num mut',
        }] : [],
      ],
    }),
  ];
}
