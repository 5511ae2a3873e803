/**
 * verdict.js - one sentence of numbers, and the findings
 */
import {byId, fill, h, prose} from './dom.js';
import {bytes, bytesData, duration, unbroken} from './format.js';
import {totalsAt} from './layers.js';
import {choose} from './state.js';
import {swatch} from './theme.js';
import {word} from './words.js';

/** @typedef {import('./main.js').Shown} Shown */

/**
 * What a finding is about: its colour, the layer that is shown alone with it,
 * and the section that proves it.
 *
 * @type {Record<string, {paint: string, iso?: string, section?: string}>}
 */
const KINDS = {
  'arena-pinning': {paint: 'pools', section: 's3'},
  'pool-holes': {paint: 'holes', iso: 'holes', section: 's2'},
  'python-growth': {paint: 'live', iso: 'live', section: 's2'},
  'native-growth': {paint: 'native', section: 's2'},
  'never-returned-int': {paint: 'never', iso: 'never', section: 's2'},
  'never-returned-float': {paint: 'never', iso: 'never', section: 's2'},
  'free-lists': {paint: 'never', iso: 'never', section: 's2'},
  'heap-trimmable': {paint: 'nfree', section: 'native-section'},
  'heap-page-pinned': {paint: 'nfree', section: 'native-section'},
  'not-enough-evidence': {paint: 'hatch', iso: 'unexplained', section: 's2'},
  'nothing-held': {paint: 'native'},
};

const LEAST_SKEW = .05; /* of RSS: more is worth a word */

/* ---- the sentence ------------------------------------------------------- */

/** @param {Shown} shown */
function sentence(shown) {
  const {process, layers, at} = shown;
  if (!process.moment)
    return ['No census was taken ', h('em', null, 'of this process.')];
  const {rss, needed, held, unexplained} = totalsAt(layers, process, at);
  /** @param {string} text */
  const quiet = (text) => h('em', null, text);
  return [
    'RSS is ', bytes(rss), '. ', quiet('The program '), word('needed', 'needs'),
    ' ', bytes(needed), quiet('; '), bytes(held), quiet(' are '), word('held'),
    quiet(', '), bytes(unexplained), ' ', word('unexplained'), quiet('.'),
  ];
}

/**
 * A census of a process that was on its way out, or in, is worth less.
 *
 * @param {number | null} skew
 * @param {number} rss
 */
function restless(skew, rss) {
  return skew !== null && Math.abs(skew) > LEAST_SKEW * rss &&
    ` RSS moved by ${bytes(skew)} while it was read: take it with care.`;
}

/**
 * Which census this is, and how near it is to what it stands for.
 *
 * @param {Shown} shown
 * @param {import('./data.js').Moment} moment
 */
function whichCensus({process, recording, when}, moment) {
  const name = h('b', null, recording.moment);
  const at = when(moment.t_us);
  if (recording.moment !== 'end')
    return ['At ', name, `, ${at}: a ${moment.kind} census.`];
  if (process.end_us === null)
    return ['At ', h('b', null, at), ', the latest census: the process lives ' +
      'on.'];
  const age = duration(process.end_us - moment.t_us);
  return moment.kind === 'end'
    ? ['At ', name, `, ${at}: the census is ${age} old.`]
    : ['There is no census at the ', name, `: this is the latest, of ${at}, ` +
      `${age} before it.`];
}

/** @param {Shown} shown */
function circumstances(shown) {
  const {process, peak} = shown;
  const {moment, censuses, vm_hwm_bytes: mark} = process;
  if (!moment)
    return [process.note ?? 'It ended, or could not be read, before one.'];
  return [
    ...whichCensus(shown, moment),
    ` Peak ${bytes(censuses.rss_bytes[peak])} at ` +
    shown.when(censuses.t_us[peak]),
    mark === null ? '.' : `, VmHWM ${bytes(mark)}.`,
    restless(moment.skew_bytes, censuses.rss_bytes[shown.at]),
  ];
}

/* ---- findings ----------------------------------------------------------- */

/**
 * @param {Shown} shown
 * @param {import('./data.js').Finding} finding
 */
function show(shown, finding) {
  const kind = KINDS[finding.id] ?? {};
  choose({p: finding.process, iso: kind.iso ?? null});
  if (!kind.section)
    return;
  const section = byId(kind.section);
  section.scrollIntoView();
  section.classList.remove('flash');
  void section.offsetWidth;
  section.classList.add('flash');
}

/**
 * @param {Shown} shown
 * @param {import('./data.js').Finding} finding
 * @param {number} i
 */
function findingOf(shown, finding, i) {
  const {recording} = shown;
  const kind = KINDS[finding.id] ?? {paint: 'other'};
  const process = recording.processes.find(({id}) => id === finding.process);
  const isOther = recording.processes.length > 1;
  const paint = /** @type {any} */ (swatch(kind.paint));
  return h('li', null,
    h('i', paint),
    h('div', {class: 'by'}, process?.moment ? bytesData(finding.bytes) : '',
      h('small', null, `${i + 1} of ${recording.verdict.length}, ` +
        `${finding.score}\u202f% of RSS`),
      isOther && process && h('small', null, `${process.name}, ` +
        `pid ${process.pid}`)),
    h('div', null,
      h('p', {class: 'st'}, unbroken(finding.sentence)),
      h('p', {class: 'ev'}, `${unbroken(finding.evidence)} Confidence: ` +
        `${finding.confidence}.`),
      h('p', {class: 'ac'}, prose(unbroken(finding.action)))),
    h('div', null, kind.section && process?.moment && h('button', {
      type: 'button',
      class: 'btn line',
      'aria-label': `Show finding ${i + 1}`,
      onclick: () => show(shown, finding),
    }, 'Show')));
}

/** @param {Shown} shown */
export function verdict(shown) {
  fill(byId('say'), sentence(shown));
  fill(byId('sub'), circumstances(shown));
  fill(byId('find'), shown.recording.verdict.map((finding, i) =>
    findingOf(shown, finding, i)));
}
