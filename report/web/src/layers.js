/**
 * layers.js - the ledger's causes as the layers of a chart
 *
 * Sixteen causes are too many to tell apart: they become at most eleven layers,
 * what is needed below, then what is held, free pools on top of it. What tends
 * to grow has a layer of its own; the rest is in `other`, and in the table. The
 * bar, the chart, the labels and the table all take their order from here.
 *
 * @typedef {object} Layer
 * @property {string} key
 * @property {string} name
 * @property {string} paint       a colour of the style sheet, or "hatch"
 * @property {'needed' | 'held' | 'neither'} group
 * @property {string[]} causes
 *
 * @typedef {Layer & {values: (number | null)[]}} MeasuredLayer
 */

/** @type {Layer[]} */
export const LAYERS = [
  {
    key: 'live',
    name: 'live Python',
    paint: 'live',
    group: 'needed',
    causes: ['python_live'],
  },
  {
    key: 'large',
    name: 'large Python',
    paint: 'large',
    group: 'needed',
    causes: ['python_large'],
  },
  {
    key: 'native',
    name: 'live native',
    paint: 'native',
    group: 'needed',
    causes: ['native_live'],
  },
  {
    key: 'mapped',
    name: 'mapped',
    paint: 'mapped',
    group: 'needed',
    causes: ['mapped_anon'],
  },
  {
    key: 'other',
    name: 'other',
    paint: 'other',
    group: 'needed',
    causes: [
      'file', 'image_private', 'stacks', 'shmem', 'python_overhead',
      'native_overhead',
    ],
  },
  {
    key: 'nfree',
    name: 'native free',
    paint: 'nfree',
    group: 'held',
    causes: ['native_free'],
  },
  {
    key: 'never',
    name: 'never returned',
    paint: 'never',
    group: 'held',
    causes: ['python_never_returned'],
  },
  {
    key: 'holes',
    name: 'holes',
    paint: 'holes',
    group: 'held',
    causes: ['python_holes'],
  },
  {
    key: 'pools',
    name: 'free pools',
    paint: 'pools',
    group: 'held',
    causes: ['python_free_pools'],
  },
  {
    key: 'profiler',
    name: 'profiler',
    paint: 'profiler',
    group: 'neither',
    causes: ['profiler'],
  },
  {
    key: 'unexplained',
    name: 'unexplained',
    paint: 'hatch',
    group: 'neither',
    causes: ['unexplained'],
  },
];

/**
 * The sum of what is known; null where nothing is.
 *
 * @param {(number | null)[]} numbers
 * @returns {number | null}
 */
export function sum(numbers) {
  let total = null;
  for (const number of numbers)
    if (number !== null)
      total = (total ?? 0) + number;
  return total;
}

/**
 * Whether a cause has a row: something is known of it. In a program without
 * Python those of Python are nothing, and are not named.
 *
 * @param {string} cause
 * @param {(number | null)[]} values
 * @param {import('./data.js').Process} process
 */
export function isCauseShown(cause, values, {python}) {
  const isForeign = python === null && cause.startsWith('python_');
  return values.some((value) => isForeign ? value : value !== null);
}

/**
 * Whether a layer is worth a colour: there is some of it at some time, or it is
 * one that everybody looks for.
 *
 * @param {MeasuredLayer} layer
 * @param {import('./data.js').Process} process
 */
function isShown({causes, group, values}, process) {
  return group === 'needed' ? values.some(Boolean)
    : causes.some((cause) => isCauseShown(cause, values, process));
}

/**
 * The layers that there are, with a value for each census.
 *
 * @param {import('./data.js').Recording} recording
 * @param {import('./data.js').Process} process
 * @returns {MeasuredLayer[]}
 */
export function layersOf(recording, process) {
  const {ledger, t_us: times} = process.censuses;
  const at = new Map(recording.causes.map((cause, i) => [cause.word, i]));
  return LAYERS.map((layer) => {
    const columns = layer.causes.map((cause) => ledger[at.get(cause) ?? -1]);
    const values = times.map((_, i) =>
      sum(columns.map((column) => column?.[i] ?? null)));
    return {...layer, values};
  }).filter((layer) => isShown(layer, process));
}

/**
 * DESIGN 2: needed is what remains of RSS after held, profiler and unexplained.
 *
 * @param {MeasuredLayer[]} layers
 * @param {import('./data.js').Process} process
 * @param {number} at
 */
export function totalsAt(layers, process, at) {
  /** @param {(layer: MeasuredLayer) => boolean} wanted */
  const total = (wanted) =>
    sum(layers.filter(wanted).map((layer) => layer.values[at])) ?? 0;
  const rss = process.censuses.rss_bytes[at];
  const held = total((layer) => layer.group === 'held');
  const profiler = total((layer) => layer.key === 'profiler');
  const unexplained = total((layer) => layer.key === 'unexplained');
  return {
    rss,
    held,
    profiler,
    unexplained,
    needed: rss - held - profiler - unexplained,
  };
}

/**
 * Whether a layer would be gone if nothing were pinned.
 *
 * @param {Layer} layer
 */
export function isUnpinned({key}) {
  return key === 'holes' || key === 'pools';
}

/**
 * What RSS would be without holes and free pools, a value for each census;
 * null where the process has neither.
 *
 * @param {MeasuredLayer[]} layers
 * @param {import('./data.js').Process} process
 * @returns {number[] | null}
 */
export function unpinned(layers, process) {
  const gone = layers.filter(isUnpinned);
  if (gone.length === 0)
    return null;
  return process.censuses.rss_bytes.map((rss, i) =>
    rss - (sum(gone.map((layer) => layer.values[i])) ?? 0));
}

/**
 * Causes that the moment's census does not know. A program without Python has
 * no Python causes: that is no gap.
 *
 * @param {import('./data.js').Recording} recording
 * @param {import('./data.js').Process} process
 * @param {number} at
 * @returns {string[]}
 */
export function notKnown(recording, process, at) {
  return recording.causes.filter(({word}, cause) =>
    (process.python !== null || !word.startsWith('python_')) &&
    process.censuses.ledger[cause][at] === null)
    .map(({word}) => word);
}
