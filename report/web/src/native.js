/**
 * native.js - malloc's heaps, and who made the mappings beside them
 */
import {byId, fill, h} from './dom.js';
import {bytes, bytesData, count, countData, share} from './format.js';
import {bar, table} from './table.js';
import {word} from './words.js';

const MOST = 12;
const LEAST_TOLD = 4 << 20;

/** @typedef {import('./main.js').Shown} Shown */
/** @typedef {import('./data.js').Heap} Heap */
/** @typedef {import('./data.js').Module} Module */

/**
 * @param {Heap[]} heaps
 * @param {(heap: Heap) => number | null} of
 */
function total(heaps, of) {
  return heaps.reduce((all, heap) => all + (of(heap) ?? 0), 0);
}

/**
 * @param {Heap[]} heaps
 * @returns {Heap}
 */
function sumOf(heaps) {
  return {
    address: null,
    kind: 'all',
    chunks: total(heaps, (heap) => heap.chunks),
    live_bytes: total(heaps, (heap) => heap.live_bytes),
    cached_chunks: total(heaps, (heap) => heap.cached_chunks),
    cached_bytes: total(heaps, (heap) => heap.cached_bytes),
    resident_bytes: total(heaps, (heap) => heap.resident_bytes),
    trimmable_bytes: total(heaps, (heap) => heap.trimmable_bytes),
    page_pinned_bytes: total(heaps, (heap) => heap.page_pinned_bytes),
    trim_gain_bytes: total(heaps, (heap) => heap.trim_gain_bytes),
    is_torn: total(heaps, (heap) => heap.is_torn),
  };
}

/** @param {Heap} all */
function sentence(all) {
  const gain = all.trim_gain_bytes ?? 0;
  const beside = all.page_pinned_bytes ?? 0;
  const free = (all.trimmable_bytes ?? 0) + beside;
  if (free < LEAST_TOLD)
    return `malloc keeps ${bytes(free)} free, which is little.`;
  return `malloc keeps ${bytes(free)} free: malloc_trim(0) would give back ` +
    `${bytes(gain)}, and ${bytes(beside)} lie beside live blocks.`;
}

/** @param {Heap} all */
function facts(all) {
  /**
   * @param {import('./dom.js').Children} name
   * @param {number | null} n
   * @param {string} note
   */
  const fact = (name, n, note) => h('div', null, h('dt', null, name),
    h('dd', null, bytesData(n), ' ', h('small', null, note)));
  return h('dl', {class: 'stats'},
    fact('resident', all.resident_bytes, ''),
    fact('in use', all.live_bytes, `${count(all.chunks)} blocks`),
    fact(word('trimmable'), all.trimmable_bytes,
      share(all.trimmable_bytes, all.resident_bytes)),
    fact(word('page-pinned'), all.page_pinned_bytes,
      share(all.page_pinned_bytes, all.resident_bytes)),
    fact('trimming gives', all.trim_gain_bytes, ''),
    fact(word('cached'), all.cached_bytes,
      `${count(all.cached_chunks)} blocks`));
}

/** @param {Heap} heap */
function nameOf({kind, address, is_torn: isTorn}) {
  return h('span', {
    title: address === null ? null : `at 0x${address.toString(16)}`,
  }, kind === 'mmapped' ? 'single blocks' : kind, isTorn ? ' (torn)' : '');
}

/**
 * @param {import('./dom.js').Children} head
 * @param {(row: Heap) => number | null} by
 * @param {string} [of]
 * @returns {import('./table.js').Column<Heap>}
 */
function column(head, by, of = 'num') {
  return {head, by, of, cell: (heap) => bytesData(by(heap))};
}

/**
 * @param {number} widest
 * @returns {import('./table.js').Column<Heap>[]}
 */
function columns(widest) {
  return [
    {head: 'heap', cell: nameOf, width: '110px'},
    {
      head: 'used, beside, free pages',
      cell: (heap) => bar([
        ['native', (heap.resident_bytes ?? 0) - (heap.trimmable_bytes ?? 0) -
          (heap.page_pinned_bytes ?? 0)],
        ['nfree', heap.page_pinned_bytes, .45],
        ['nfree', heap.trimmable_bytes]], widest),
      width: '22%',
    },
    column('resident', (heap) => heap.resident_bytes),
    {
      head: 'blocks in use',
      cell: ({chunks}) => countData(chunks),
      by: ({chunks}) => chunks,
      of: 'num',
    },
    column('bytes in use', (heap) => heap.live_bytes),
    column(word('cached'), (heap) => heap.cached_bytes),
    column(word('page-pinned', 'free, beside'),
      (heap) => heap.page_pinned_bytes),
    column(word('trimmable', 'free pages'), (heap) => heap.trimmable_bytes),
    column('trim gives', (heap) => heap.trim_gain_bytes, 'num now'),
  ];
}

/** @param {Heap} all */
function totalRow(all) {
  /** @param {string} text */
  const cell = (text) => h('td', {class: 'num'}, text);
  return h('tr', {class: 'tot'}, h('td', null, 'all'), h('td', null),
    cell(bytes(all.resident_bytes)), cell(count(all.chunks)),
    cell(bytes(all.live_bytes)), cell(bytes(all.cached_bytes)),
    cell(bytes(all.page_pinned_bytes)), cell(bytes(all.trimmable_bytes)),
    cell(bytes(all.trim_gain_bytes)));
}

/** @param {Heap[]} heaps */
function heapsPart(heaps) {
  const all = sumOf(heaps);
  const widest = Math.max(1, ...heaps.map((heap) => heap.resident_bytes ?? 0));
  return [
    h('p', {class: 'big'}, sentence(all)), facts(all),
    table({
      label: 'Heaps of malloc',
      rows: heaps,
      most: MOST,
      sorted: 2,
      total: totalRow(all),
      columns: columns(widest),
    }),
    h('p', {class: 'note'}, all.is_torn !== 0 && 'A heap that changed while ' +
      'it was read is torn: the rest of it is unexplained. ',
    'Single blocks are those that malloc gives a mapping of their own. What ' +
    'is in use counts whole, resident or not; what is free, resident only.'),
  ];
}

/** @param {Module[]} modules */
function modulesPart(modules) {
  return [
    h('h3', {class: 'below'}, 'Mappings by who made them'),
    table({
      label: 'Mappings',
      rows: modules,
      most: MOST,
      sorted: 3,
      columns: [
        {head: 'made by', cell: ({module}) => h('code', null, module)},
        {head: 'mappings', cell: (row) => countData(row.count), of: 'num'},
        {head: 'bytes', cell: (row) => bytesData(row.bytes), of: 'num'},
        {
          head: 'resident',
          cell: (row) => bytesData(row.resident_bytes),
          by: (row) => row.resident_bytes,
          of: 'num now',
        },
      ],
    }),
    h('p', {class: 'note'}, 'Anonymous ones, of which the call was seen; ' +
      'those of malloc, of Python’s arenas and of stacks are not among them.'),
  ];
}

/**
 * False: this process has nothing to show here.
 *
 * @param {Shown} shown
 */
export function hasNative({process}) {
  const {moment} = process;
  return moment !== undefined &&
    (moment.heaps.length > 0 || moment.mappings.length > 0);
}

/** @param {Shown} shown */
export function native(shown) {
  const host = byId('native');
  fill(host);
  if (!hasNative(shown))
    return;
  const {heaps, mappings} = /** @type {import('./data.js').Moment} */ (
    shown.process.moment);
  fill(host, ...(heaps.length > 0 ? heapsPart(heaps) : []),
    ...(mappings.length > 0 ? modulesPart(mappings) : []));
}
