/**
 * rows.js - what a chart of areas draws, as columns for uPlot
 *
 * Pure: censuses, ticks and layers in, numbers out.
 */

/**
 * What is drawn at one moment: the sums of the layers, the lowest first, and
 * the line. null where that moment has nothing to say of it.
 *
 * @typedef {object} Row
 * @property {number} t_us
 * @property {(number | null)[]} sums
 * @property {number | null} line
 */

/**
 * The line as points: where a tick has two values both are on the way.
 *
 * @param {NonNullable<import('./areas.js').AreasSpec['line']>} line
 * @returns {{t_us: number, value: number, middle: number}[]}
 */
function pointsOf(line) {
  /** @type {{t_us: number, value: number, middle: number}[]} */
  const points = [];
  line.t_us.forEach((t, i) => {
    const low = line.low[i];
    const high = line.high[i];
    if (low === null || high === null)
      return;
    const last = points.at(-1)?.value ?? low;
    const isRising = Math.abs(last - low) <= Math.abs(last - high);
    const middle = (low + high) / 2;
    points.push({t_us: t, value: isRising ? low : high, middle});
    if (low !== high)
      points.push({t_us: t, value: isRising ? high : low, middle});
  });
  return points;
}

/**
 * The sums up to and with each layer, the lowest first, at each census.
 *
 * @param {import('./areas.js').Area[]} layers
 * @returns {number[][]}
 */
export function sumsOf(layers) {
  /** @type {number[]} */
  let below = [];
  return layers.map((layer) =>
    below = layer.values.map((value, i) => (below[i] ?? 0) + (value ?? 0)));
}

/**
 * Sums between two censuses, the whole being known: straight from the one to
 * the other, the topmost layer taking what is over. Where the whole is less it
 * cuts them from the top.
 *
 * @param {number[]} before
 * @param {number[]} after
 * @param {number} near      0: at the first, 1: at the second
 * @param {number} whole
 * @returns {number[]}
 */
export function between(before, after, near, whole) {
  return before.map((sum, i) => i === before.length - 1 ? whole
    : Math.min(whole, sum + (after[i] - sum) * near));
}

/**
 * Censuses, and points of the line between them, in order of time.
 *
 * @param {import('./areas.js').AreasSpec} spec
 * @returns {Row[]}
 */
export function rowsOf(spec) {
  const {times} = spec;
  const columns = sumsOf(spec.layers);
  /** @param {number} i */
  const at = (i) => columns.map((column) => column[i]);
  /** @type {Row[]} */
  const rows = times.map((t, i) =>
    ({t_us: t, sums: at(i), line: spec.line?.at[i] ?? null}));
  const nothing = columns.map(() => null);
  let next = 0;
  for (const point of spec.line === null ? [] : pointsOf(spec.line)) {
    while (next < times.length && times[next] <= point.t_us)
      next++;
    const isBetween = next > 0 && next < times.length;
    rows.push({
      t_us: point.t_us,
      line: point.value,
      sums: isBetween ? between(at(next - 1), at(next),
        (point.t_us - times[next - 1]) / (times[next] - times[next - 1]),
        point.middle) : nothing,
    });
  }
  return rows.sort((a, b) => a.t_us - b.t_us);
}

/**
 * A single census has no width: it is drawn as a column of some.
 *
 * @param {import('./areas.js').AreasSpec} spec
 * @returns {import('./areas.js').AreasSpec}
 */
function widened(spec) {
  const [from, to] = spec.span;
  const half = (to - from) / 160;
  if (spec.times.length !== 1)
    return spec;
  const at = Math.min(Math.max(spec.times[0], from + half), to - half);
  return {
    ...spec,
    times: [at - half, at + half],
    layers: spec.layers.map((layer) =>
      ({...layer, values: [layer.values[0], layer.values[0]]})),
    line: spec.line && {...spec.line, at: [spec.line.at[0], spec.line.at[0]]},
  };
}

/**
 * @param {(number | null)[]} sums
 * @param {[number, number]} range
 * @returns {number | null}
 */
function leaveOut(sums, [first, last]) {
  const all = sums[sums.length - 1];
  const upTo = sums[last];
  const below = first === 0 ? 0 : sums[first - 1];
  return all === null || upTo === null || below === null ? null
    : all - (upTo - below);
}

/**
 * As uPlot wants it: x, then the layers from the topmost down, the edge twice
 * (as its own halo and as itself), the line.
 *
 * @param {import('./areas.js').AreasSpec} spec
 */
export function dataOf(spec) {
  const rows = rowsOf(widened(spec));
  /** @param {number | null} value */
  const scaled = (value) => value === null ? null : value / spec.scale.divisor;
  const layers = spec.layers.map((_, i) =>
    rows.map(({sums}) => scaled(sums[i]))).reverse();
  const {without} = spec;
  const edge = without === null ? null
    : rows.map(({sums}) => scaled(leaveOut(sums, without)));
  return [
    rows.map(({t_us: t}) => t / 1e6),
    ...layers,
    ...edge === null ? [] : [edge, edge],
    rows.map(({line}) => scaled(line)),
  ];
}
