/**
 * trust.js - how far the numbers can be believed, and how to get them again
 */
import {commandOf, quote} from './data.js';
import {byId, fill, h} from './dom.js';
import {
  bytes, clock, count, duration, several, share,
} from './format.js';
import {totalsAt} from './layers.js';
import {glossary, word} from './words.js';

/** @typedef {import('./main.js').Shown} Shown */

/**
 * @param {import('./dom.js').Children} name
 * @param {string} value
 * @param {string} note
 */
function item(name, value, note) {
  return h('div', null, h('dt', null, name),
    h('dd', null, value, h('small', null, note)));
}

/** @param {Shown} shown */
function figures(shown) {
  const {process, recording, layers, at} = shown;
  const {moment, loss, malloc} = process;
  const {cpu_us: cpu, survey_cpu_us: survey} = recording.collector;
  const events = malloc.allocs === null || malloc.frees === null ? null
    : malloc.allocs + malloc.frees;
  const age = !moment || process.end_us === null ? null
    : process.end_us - moment.t_us;
  const totals = moment ? totalsAt(layers, process, at) : null;
  return h('dl', {class: 'ok'},
    item('events lost', count(loss.events),
      `of ${count(events)}, in ${count(loss.batches)} lost batches`),
    item(word('unexplained'), share(totals?.unexplained, totals?.rss),
      `${bytes(totals?.unexplained)} of pages; the goal is under 1 %`),
    item(`age of the ${recording.moment} census`, duration(age),
      moment ? `${moment.kind} census at ${clock(moment.t_us, 3)}` +
        (age === null ? '; the process lives on' : ', before it ended') : ''),
    item([word('torn'), ' pools, heaps'], count(moment?.torn),
      moment?.torn === 0 ? 'each was read whole' : ''),
    item(word('skew'), bytes(moment?.skew_bytes),
      'how far RSS moved while it was read'),
    item('of one core: residued', share(cpu, recording.ended_us),
      survey === null ? '' : `censuses and ticks ` +
        `${share(survey, recording.ended_us)}, the rest is events and disk`),
    item(process.python === null ? 'no Python' : 'CPython',
      process.python ?? 'native',
      recording.kernel === null ? '' : `Linux ${recording.kernel}, x86-64`),
    item([word('profiler'), ': our own pages'],
      bytes(totals?.profiler), 'in the ledger, not in needed'));
}

/** @param {Shown} shown */
function commands({recording, process}) {
  const file = quote(recording.recording);
  const moment = recording.moment === 'end' ? '' : `@${recording.moment}`;
  const target = quote(recording.recording + moment);
  const command = process.command ? commandOf(process)
    : `${commandOf(process)} …`;
  return h('pre', {tabindex: 0},
    `residue run -o ${file} ${command}\n` +
    `residue why ${target}\n` +
    `residue stats ${target} --json\n` +
    `residue report ${target}`);
}

/** @param {import('./data.js').Process} process */
function density({ticks, censuses}) {
  const shown = ticks.t_us.length;
  const line = ticks.of <= shown
    ? `The RSS line shows each of ${several(ticks.of, 'tick')}.`
    : `The RSS line shows ${count(shown)} points for ${count(ticks.of)} ` +
      'ticks, each with the least and the greatest of its ticks.';
  return `${line} The layers are exact at the ` +
    `${several(censuses.t_us.length, 'census')}; between two of them they ` +
    'are drawn straight, and what RSS has more is hatched.';
}

/** @param {Shown} shown */
function limits(shown) {
  const {process, recording} = shown;
  const others = recording.events.filter(({kind, process: of}) =>
    kind !== 'mark' && (of === null || of === process.id));
  return h('ul', {class: 'plain'},
    process.note && h('li', null, `${process.name}: ${process.note}.`),
    h('li', null, density(process)),
    process.collections.of > 0 && h('li', null, 'The lane of collections ' +
      'leaves out generation 0, and keeps the longest pause where several ' +
      'fall on one spot.'),
    process.level === 'inspect' && h('li', null, 'Nothing was preloaded: ' +
      'what happened between two censuses, the calls of malloc, and who made ' +
      'a mapping are not known.'),
    process.python !== null && h('li', null, `At ${process.level} level ` +
      'objects have types, not lines: what made a block is not known.'),
    !recording.sealed && h('li', null, 'The recording is still being ' +
      'written, or its collector was killed: this is what it had by then.'),
    others.map(({t_us: t, text, kind}) =>
      h('li', null, `${clock(t)} ${kind}: ${text ?? ''}.`)));
}

/** @param {Shown} shown */
export function trust(shown) {
  fill(byId('trust'), figures(shown),
    h('div', {class: 'two below'},
      h('div', null, h('h3', null, 'Same numbers, from a shell'),
        commands(shown)),
      h('div', null, h('h3', null, 'What this page cannot say'),
        limits(shown))),
    h('h3', {class: 'below'}, 'Words'), glossary());
}

/** @param {Shown} shown */
export function footer({recording}) {
  const started = recording.started_unix_ns;
  const when = started === null ? ''
    : ', ' + new Date(started / 1e6).toISOString().slice(0, 16)
      .replace('T', ' ') + ' UTC';
  fill(byId('footer'), 'Made by ', h('b', null,
    `residue report ${recording.version}`), ' from ',
  h('code', null, recording.recording),
  `${recording.host === null ? '' : `, recorded on ${recording.host}`}` +
  `${when}. One file, no network.`);
}
