/**
 * table.js - tables: long ones cut, sorted by a press on a head
 *
 * @template Row
 * @typedef {object} Column
 * @property {import('./dom.js').Children} head
 * @property {(row: Row) => import('./dom.js').Children} cell
 * @property {string} [of]          class of its cells; "num" aligns right
 * @property {(row: Row) => number | null | undefined} [by]   sorts by it
 * @property {string} [width]
 */
import {fill, h} from './dom.js';
import {state} from './state.js';
import {isOnPaper} from './theme.js';

/**
 * @template Row
 * @param {object} spec
 * @param {string} spec.label               what it is, for screen readers
 * @param {Column<Row>[]} spec.columns
 * @param {Row[]} spec.rows
 * @param {number} [spec.most]              rows shown at first
 * @param {number} [spec.sorted]            the column it is sorted by at first
 * @param {(row: Row) => string | null} [spec.rowClass]
 * @param {HTMLElement} [spec.total]        a last row of its own
 * @returns {HTMLElement}
 */
export function table(spec) {
  const most = spec.most ?? Infinity;
  const body = h('tbody', null);
  const head = h('tr', null);
  const more = h('button', {class: 'btn line small', type: 'button'});
  let sorted = spec.sorted ?? -1;
  let isWhole = state.isOpen || spec.rows.length <= most + 2;

  function draw() {
    const rows = spec.rows.slice();
    const by = spec.columns[sorted]?.by;
    if (by)
      rows.sort((a, b) => (by(b) ?? -1) - (by(a) ?? -1));
    fill(head, spec.columns.map((column, i) =>
      headOf(column, i === sorted, () => {
        sorted = i;
        draw();
      })));
    fill(body, (isWhole ? rows : rows.slice(0, most)).map((row) =>
      h('tr', {class: spec.rowClass?.(row)}, spec.columns.map((column) =>
        h('td', {class: column.of}, column.cell(row))))),
    spec.total);
    more.textContent = isWhole ? `First ${most}` : `All ${rows.length}`;
  }

  more.addEventListener('click', () => {
    isWhole = !isWhole;
    draw();
  });
  draw();
  return h('div', null,
    h('div', {class: 'wide', tabindex: 0, role: 'region',
      'aria-label': `Table: ${spec.label}`},
    h('table', null, h('thead', null, head), body)),
    spec.rows.length > most + 2 && h('p', {class: 'more'}, more));
}

/**
 * @param {Column<any>} column
 * @param {boolean} isSorted
 * @param {() => void} sort
 */
function headOf(column, isSorted, sort) {
  return h('th', {
    class: column.of,
    scope: 'col',
    style: column.width ? {width: column.width} : null,
    'aria-sort': isSorted && column.by ? 'descending' : null,
  }, column.head, column.by && h('button', {
    type: 'button',
    class: 'sort',
    'aria-label': 'sort by this column',
    onclick: sort,
  }, isSorted ? '↓' : '↕'));
}

/**
 * A table behind a line that opens it.
 *
 * @param {string} summary
 * @param {() => import('./dom.js').Children} content   made when it is opened
 * @returns {HTMLElement}
 */
export function folded(summary, content) {
  const inside = h('div', null);
  let isMade = false;
  const details = h('details', {
    open: state.isOpen || isOnPaper(),
    ontoggle: make,
  }, h('summary', null, summary), inside);

  function make() {
    if (isMade || !(/** @type {HTMLDetailsElement} */ (details).open))
      return;
    isMade = true;
    fill(inside, content());
  }
  make();
  return details;
}

/**
 * Two or more lengths side by side in a cell, each a share of the widest row.
 *
 * @param {[string, number | null, number?][]} parts   paint, bytes, opacity
 * @param {number} widest
 */
export function bar(parts, widest) {
  return h('div', {class: 'bcell', 'aria-hidden': 'true'},
    h('span', null, parts.map(([paint, value, opacity]) =>
      value ? h('i', {style: {
        width: `${100 * value / widest}%`,
        background: `var(--${paint})`,
        opacity: opacity ?? 1,
      }}) : null)));
}
