/**
 * format.js - numbers as people read them
 *
 * As report/units.c writes them, so that the page and `residue why` say the
 * same. Unknown is blank.
 */
import {h} from './dom.js';

const NBSP = '\u00a0';
const THIN = '\u202f';

/** Binary units unless the reader wants MB. */
let isDecimal = false;

/** @param {boolean} decimal */
export function useDecimal(decimal) {
  isDecimal = decimal;
}

/** @returns {string[]} */
function unitNames() {
  return isDecimal
    ? ['B', 'kB', 'MB', 'GB', 'TB']
    : ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
}

/** @param {number | null | undefined} n */
export function isKnown(n) {
  return n !== null && n !== undefined;
}

/**
 * "83.0 MiB"
 *
 * @param {number | null | undefined} n
 * @returns {string}
 */
export function bytes(n) {
  if (n === null || n === undefined)
    return '';
  const step = isDecimal ? 1000 : 1024;
  let value = n;
  let unit = 0;
  while (Math.abs(value) >= step && unit < 4) {
    value /= step;
    unit++;
  }
  const digits = unit === 0 || Math.abs(value) >= 1000 ? 0 : 1;
  return value.toFixed(digits).replace('-', '−') + NBSP + unitNames()[unit];
}

/**
 * The same as an element that also has the exact number.
 *
 * @param {number | null | undefined} n
 * @returns {Node | string}
 */
export function bytesData(n) {
  if (n === null || n === undefined)
    return '';
  return h('data', {value: n, title: `${count(n)} bytes`}, bytes(n));
}

/**
 * "1,384"
 *
 * @param {number | null | undefined} n
 * @returns {string}
 */
export function count(n) {
  return n === null || n === undefined ? '' : n.toLocaleString('en-US');
}

/**
 * @param {number | null | undefined} n
 * @returns {Node | string}
 */
export function countData(n) {
  return n === null || n === undefined
    ? ''
    : h('data', {value: n}, count(n));
}

/**
 * "1 tick", "2 ticks", "2 censuses"
 *
 * @param {number | null | undefined} n
 * @param {string} thing
 * @returns {string}
 */
export function several(n, thing) {
  const end = n === 1 ? '' : thing.endsWith('s') ? 'es' : 's';
  return `${count(n)} ${thing}${end}`;
}

/**
 * A sentence of the verdict, so that no line ends between number and unit.
 *
 * @param {string} sentence
 * @returns {string}
 */
export function unbroken(sentence) {
  return sentence.replace(/(\d) (?=(?:[KMGT]iB|B|%)(?!\w))/g, `$1${NBSP}`);
}

/** @param {number} n */
function two(n) {
  return String(n).padStart(2, '0');
}

/**
 * "01:10.5", hours before it where there are any; digits after the point.
 *
 * @param {number | null | undefined} us
 * @param {number} [digits]
 * @returns {string}
 */
export function clock(us, digits = 1) {
  if (us === null || us === undefined)
    return '';
  const seconds = Math.floor(us / 1e6);
  const minutes = Math.floor(seconds / 60);
  if (seconds >= 3600)
    return `${Math.floor(minutes / 60)}:${two(minutes % 60)}:` +
      two(seconds % 60);
  const part = digits === 0
    ? ''
    : '.' + String(Math.floor(us % 1e6)).padStart(6, '0').slice(0, digits);
  return `${two(minutes)}:${two(seconds % 60)}${part}`;
}

/**
 * "1.2 s", "340 ms", "12 µs"; longer ones as "2 h 14 m", "6 d 3 h".
 *
 * @param {number | null | undefined} us
 * @returns {string}
 */
export function duration(us) {
  if (us === null || us === undefined)
    return '';
  if (us < 1000)
    return `${us}${NBSP}µs`;
  if (us < 1e6)
    return (us / 1e3).toFixed(us < 10000 ? 1 : 0) + NBSP + 'ms';
  if (us < 120e6)
    return (us / 1e6).toFixed(1) + NBSP + 's';
  const minutes = Math.floor(us / 60e6);
  if (minutes < 60)
    return `${minutes}${NBSP}m ${Math.floor(us / 1e6) % 60}${NBSP}s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48)
    return `${hours}${NBSP}h ${minutes % 60}${NBSP}m`;
  return `${Math.floor(hours / 24)}${NBSP}d ${hours % 24}${NBSP}h`;
}

/**
 * "37 %"
 *
 * @param {number | null | undefined} part
 * @param {number | null | undefined} whole
 * @returns {string}
 */
export function share(part, whole) {
  if (part === null || part === undefined || !whole || whole <= 0)
    return '';
  const percent = 100 * part / whole;
  return percent.toFixed(Math.abs(percent) < 10 ? 1 : 0) + THIN + '%';
}

/**
 * "×4,990"
 *
 * @param {number | null | undefined} n
 * @returns {string}
 */
export function times(n) {
  if (n === null || n === undefined)
    return '';
  return '×' + (n < 10 ? n.toFixed(1) : count(Math.round(n)));
}

/**
 * One unit for a whole chart, by its greatest value.
 *
 * @typedef {object} Scale
 * @property {number} divisor
 * @property {string} unit
 * @property {number} digits
 */

/**
 * @param {number} greatest
 * @returns {Scale}
 */
export function scaleOf(greatest) {
  const step = isDecimal ? 1000 : 1024;
  const power = greatest < 8 * step ** 2
    ? 1
    : greatest < 8 * step ** 3 ? 2 : 3;
  const divisor = step ** power;
  return {
    divisor,
    unit: unitNames()[power],
    digits: greatest / divisor < 1000 ? 1 : 0,
  };
}

/** @type {Scale} */
export const COUNTS = {divisor: 1, unit: '', digits: 0};

/**
 * A number in a scale, without its unit.
 *
 * @param {number | null | undefined} n
 * @param {Scale} scale
 * @returns {string}
 */
export function inScale(n, scale) {
  if (n === null || n === undefined)
    return '';
  return (n / scale.divisor).toLocaleString('en-US', {
    minimumFractionDigits: scale.digits,
    maximumFractionDigits: scale.digits,
  });
}

/**
 * The same with its sign; what rounds to nothing is "0".
 *
 * @param {number | null | undefined} n
 * @param {Scale} scale
 * @returns {string}
 */
export function changeInScale(n, scale) {
  if (n === null || n === undefined)
    return '';
  const text = inScale(Math.abs(n), scale);
  if (!/[1-9]/.test(text))
    return '0';
  return (n < 0 ? '−' : '+') + text;
}
