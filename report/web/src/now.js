/**
 * now.js - RSS at the moment as one bar, a length for each layer
 */
import {byId, fill, h} from './dom.js';
import {bytes, inScale, scaleOf, several, share} from './format.js';
import {notKnown, totalsAt} from './layers.js';
import {choose, state} from './state.js';
import {font, swatch} from './theme.js';
import {word} from './words.js';

/** @typedef {import('./main.js').Shown} Shown */

const LEAST = 22; /* pixels of a piece that gets a label of its own */

/**
 * @typedef {object} Piece
 * @property {import('./layers.js').MeasuredLayer} layer
 * @property {number} value
 * @property {number} left     as a part of the bar
 * @property {number} size
 */

/**
 * @param {Shown} shown
 * @returns {Piece[]}
 */
function piecesOf(shown) {
  const rss = shown.process.censuses.rss_bytes[shown.at];
  let left = 0;
  return shown.layers.map((layer) => {
    const value = layer.values[shown.at] ?? 0;
    const piece = {layer, value, left, size: rss > 0 ? value / rss : 0};
    left += piece.size;
    return piece;
  });
}

/** @returns {(text: string) => number} */
function ruler() {
  const context = /** @type {CanvasRenderingContext2D} */ (
    document.createElement('canvas').getContext('2d'));
  context.font = '600 ' + font();
  return (text) => context.measureText(text).width;
}

/**
 * What is needed and what is held, over the bar. A caption that is wider than
 * its bracket pushes the next one to the right; one without room is left out:
 * the sentence above has the number.
 *
 * @param {Shown} shown
 * @param {Piece[]} pieces
 * @param {number} width
 */
function brackets(shown, pieces, width) {
  const totals = totalsAt(shown.layers, shown.process, shown.at);
  const measure = ruler();
  let free = 0;
  let left = 0;
  /** @type {HTMLElement[]} */
  const all = [];
  for (const group of /** @type {const} */ (['needed', 'held'])) {
    const size = pieces.filter(({layer}) => layer.group === group)
      .reduce((total, piece) => total + piece.size, 0);
    if (size <= 0)
      continue;
    const value = totals[group];
    const part = share(value, totals.rss);
    const wide = measure(`${bytes(value)} ${group}, ${part}`);
    const at = Math.min(Math.max(left, free), width - wide);
    all.push(h('div', {style: {width: `${100 * size}%`}},
      at >= free && h('span', {style: {left: `${at - left}px`}},
        h('b', null, bytes(value)), ' ', word(group), `, ${part}`)));
    free = at + wide + 12;
    left += size * width;
  }
  return h('div', {class: 'brk'}, all);
}

/** @param {Piece[]} pieces */
function stack(pieces) {
  return h('div', {class: 'stack'}, pieces.map(({layer, value, size}) => {
    const words = `${layer.name} ${bytes(value)}`;
    const paint = /** @type {any} */ (swatch(layer.paint));
    return size > 0 && h('button', {
      type: 'button',
      class: paint.class,
      style: {...paint.style, width: `${100 * size}%`},
      title: words,
      'aria-label': `${words}: show it alone`,
      onclick: () => {
        choose({iso: state.iso === layer.key ? null : layer.key});
        byId('s2').scrollIntoView();
      },
    });
  }));
}

/**
 * Labels under the bar, at the left of their piece, or at its right where the
 * one before reaches over; those that do not fit are named in a line.
 *
 * @param {Piece[]} pieces
 * @param {number} width
 * @param {import('./format.js').Scale} scale
 */
function underneath(pieces, width, scale) {
  const measure = ruler();
  const fits = [];
  const others = [];
  let free = 0;
  for (const {layer, value, left, size} of pieces) {
    const room = size * width;
    const from = left * width;
    const number = inScale(value, scale);
    const wide = Math.max(measure(layer.name), measure(number) * 7 / 6);
    const fromRight = from + room - wide - 6;
    const isLeft = from >= free && from + wide <= width;
    const isRight = fromRight >= free;
    const x = isLeft && (wide <= room || !isRight) ? from
      : isRight ? fromRight : free;
    const isNear = x < from + room - LEAST && x + wide <= width;
    if (value > 0 && room > LEAST && (isLeft || isRight || isNear)) {
      fits.push(h('span', {style: {left: `${100 * x / width}%`}},
        h('b', null, number), layer.name));
      free = x + wide + 6;
    } else if (value > 0) {
      others.push(`${layer.name} ${bytes(value)}`);
    }
  }
  return [
    h('div', {class: 'lbl'}, fits),
    others.length > 0 && h('p', {class: 'also'}, `Also: ${others.join(', ')}.`),
  ];
}

/** @param {string[]} gaps */
function notKnownLine(gaps) {
  return gaps.length > 0 && h('p', {class: 'also'},
    'Not known at this census: ',
    gaps.flatMap((gap, i) => [i === 0 ? null : ', ', h('code', null, gap)]),
    gaps.includes('python_never_returned') ? '. The free lists changed while ' +
      'they were read, or are not those of a release; what they keep counts ' +
      'as live.' : '.');
}

/**
 * Why a limit may be reached though RSS is below it.
 *
 * @param {Shown} shown
 */
function cgroupLine({process}) {
  const cgroup = process.moment?.cgroup;
  if (!cgroup || cgroup.current === null)
    return null;
  /** @type {[string, number | null][]} */
  const shares = [
    ['programs’ own memory', cgroup.anon], ['page cache', cgroup.file],
    ['shared memory', cgroup.shmem], ['the kernel', cgroup.kernel],
  ];
  const known = shares.filter(([, n]) => n !== null)
    .map(([name, n]) => `${name} ${bytes(n)}`);
  const limit = cgroup.max === null ? ', no limit is visible'
    : ` of ${bytes(cgroup.max)}`;
  return h('p', {class: 'also'}, 'Its ', word('cgroup'),
    ` uses ${bytes(cgroup.current)}${limit}: ${known.join(', ')}` +
    (cgroup.others === null ? ''
      : `; ${bytes(cgroup.others)} are other processes’`) +
    (cgroup.oom_kills ? `; ${several(cgroup.oom_kills, 'OOM kill')}` : '') +
    '.');
}

/** @param {Shown} shown */
export function now(shown) {
  const host = byId('now');
  const {process, recording} = shown;
  if (!process.moment) {
    fill(host);
    return;
  }
  const pieces = piecesOf(shown);
  const isEnd = recording.moment === 'end';
  const scale = scaleOf(process.censuses.rss_bytes[shown.at]);
  fill(host,
    h('div', {class: 'h'},
      h('h2', null, isEnd ? 'RSS now'
        : `RSS at ${shown.when(process.moment.t_us)}`),
      h('p', {class: 'qn'}, 'every resident page has exactly one cause; ' +
        `in ${scale.unit}`)),
    brackets(shown, pieces, host.clientWidth), stack(pieces),
    underneath(pieces, host.clientWidth, scale),
    notKnownLine(notKnown(recording, process, shown.at)), cgroupLine(shown));
}
