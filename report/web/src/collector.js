/**
 * collector.js - what Python's cyclic collector did and cost
 */
import {byId, fill, h} from './dom.js';
import {clock, count, countData, duration, share} from './format.js';
import {table} from './table.js';

/** @typedef {import('./main.js').Shown} Shown */

/**
 * @param {number | null} us
 * @returns {Node | string}
 */
function pause(us) {
  return us === null ? '' : h('data', {value: us}, duration(us));
}

/** @param {Shown} shown */
function sentence({process}) {
  const total = process.gc.reduce((all, row) =>
    all + (row.pause_us_total ?? 0), 0);
  const since = process.gc[0].pauses_since_us;
  const [, end] = [process.start_us, process.end_us];
  const seen = since === null || end === null ? null : end - since;
  const part = share(total, seen);
  return `Paused for ${duration(total)} in all` +
    (part === '' ? '.' : `, ${part} of the time since ${clock(since)}.`);
}

/** @param {Shown} shown */
export function collector(shown) {
  const host = byId('collector');
  const {process} = shown;
  if (process.gc.length === 0) {
    fill(host, h('p', {class: 'mut'}, process.python === null
      ? '' : 'Nothing is known of it: its callback was never called.'));
    return;
  }
  fill(host,
    h('p', {class: 'lead'}, sentence(shown)),
    table({
      label: 'Collections by generation',
      rows: process.gc,
      columns: [
        {
          head: 'generation',
          cell: (row) => countData(row.generation),
          width: '80px',
        },
        {
          head: 'collections',
          cell: (row) => countData(row.collections),
          of: 'num',
        },
        {
          head: 'collected',
          cell: (row) => countData(row.collected),
          of: 'num',
        },
        {
          head: 'uncollectable',
          cell: (row) => countData(row.uncollectable),
          of: 'num',
        },
        {head: 'paused', cell: (row) => pause(row.pause_us_total), of: 'num'},
        {head: 'longest', cell: (row) => pause(row.pause_us_max), of: 'num'},
      ],
    }),
    h('p', {class: 'note'}, 'Counts are the interpreter’s own since its ' +
      'start; pauses are those that were seen. ' +
      `${count(process.collections.of)} collections were timed one by one; ` +
      'those of generations 1 and 2 stand under the ledger.'));
}
