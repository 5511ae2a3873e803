/**
 * main.js - one render for every change of state
 *
 * All sections are built from the data and the state, and built again when the
 * state changes: there is nothing to keep in step. Only cursors move without.
 *
 * @typedef {object} Shown          what every section gets
 * @property {import('./data.js').Recording} recording
 * @property {import('./data.js').Process} process
 * @property {import('./layers.js').MeasuredLayer[]} layers
 * @property {import('./layers.js').MeasuredLayer | null} iso
 * @property {number} at            the moment's census
 * @property {number} peak          the census with the highest RSS
 * @property {number} greatest      the highest RSS there is
 * @property {[number, number]} span   of time
 * @property {(t_us: number) => string} when   as precise as the span allows
 * @property {{t_us: number, text: string | null}[]} marks
 * @property {(at: number | null, from: string) => void} point
 */
import {arenas, hasArenas} from './arenas.js';
import {classes} from './classes.js';
import {collector} from './collector.js';
import {endOf, read} from './data.js';
import {byId} from './dom.js';
import {clock, useDecimal} from './format.js';
import {
  header, help, markSection, navigation, toggleTheme, toggleUnit,
} from './head.js';
import {layersOf} from './layers.js';
import {ledger} from './ledger.js';
import {hasNative, native} from './native.js';
import {now} from './now.js';
import {processes} from './processes.js';
import {choose, onChange, readHash, state} from './state.js';
import {applyTheme, onSystemTheme, setPrinting} from './theme.js';
import {footer, trust} from './trust.js';
import {types} from './types.js';
import {verdict} from './verdict.js';

const recording = read(byId('data').textContent ?? '');

/** @type {HTMLElement[]} */
let sections = [];

/** @type {Record<string, {move: (at: number | null) => void}>} */
let plots = {};

/** The chosen process; at first the one that the first finding is about. */
function chosen() {
  const {processes: all, verdict: findings} = recording;
  return all.find(({id}) => id === state.p) ??
    all.find(({id}) => id === findings[0]?.process) ?? all[0];
}

/**
 * A run of a tenth of a second needs milliseconds to tell its moments apart.
 *
 * @param {number} us
 */
function digitsOf(us) {
  return us < 2e6 ? 3 : us < 20e6 ? 2 : 1;
}

/**
 * @param {import('./data.js').Process} process
 * @returns {Shown}
 */
function shownOf(process) {
  const {censuses, ticks} = process;
  const layers = layersOf(recording, process);
  const highest = Math.max(...censuses.rss_bytes);
  const to = Math.max(endOf(process), process.start_us + 1000);
  return {
    recording,
    process,
    layers,
    iso: layers.find(({key}) => key === state.iso) ?? null,
    at: process.at ?? censuses.t_us.length - 1,
    peak: censuses.rss_bytes.indexOf(highest),
    greatest: Math.max(1, highest, ...ticks.rss_max.map((v) => v ?? 0)),
    span: [process.start_us, to],
    when: (t) => clock(t, digitsOf(to - process.start_us)),
    marks: recording.events.filter(({kind, process: of}) =>
      kind === 'mark' && (of === null || of === process.id)),
    point: (at, from) => {
      for (const [name, plot] of Object.entries(plots))
        if (name !== from)
          plot.move(at);
    },
  };
}

/**
 * Sections without a word to say are hidden.
 *
 * @param {Shown} shown
 */
function hideEmpty(shown) {
  const {moment, gc, python} = shown.process;
  const hasClasses = (moment?.classes.length ?? 0) > 0;
  byId('s3').hidden = !hasArenas(shown);
  byId('native-section').hidden = !hasNative(shown);
  byId('classes-part').hidden = !hasClasses;
  byId('collector-part').hidden = python === null;
  byId('s4').hidden = !hasClasses && gc.length === 0;
  byId('s5').hidden = python === null || !moment;
}

function render() {
  const process = chosen();
  useDecimal(state.isDecimal);
  applyTheme();
  if (process === undefined) {
    byId('say').textContent = 'No process introduced itself.';
    for (const id of ['s2', 's3', 'native-section', 's4', 's5', 's6', 's7'])
      byId(id).hidden = true;
    return;
  }
  const shown = shownOf(process);
  plots = {};
  header(shown);
  hideEmpty(shown);
  verdict(shown);
  now(shown);
  for (const [name, plot] of Object.entries({
    ledger: ledger(shown),
    arenas: arenas(shown),
  }))
    if (plot !== null)
      plots[name] = plot;
  native(shown);
  classes(shown);
  collector(shown);
  types(shown);
  processes(shown);
  trust(shown);
  footer(shown);
  sections = navigation();
}

/** @param {KeyboardEvent} event */
function onKey(event) {
  const target = /** @type {HTMLElement} */ (event.target);
  const isBusy = event.ctrlKey || event.metaKey || event.altKey ||
    /INPUT|SELECT|TEXTAREA/.test(target.tagName) || help().open;
  if (isBusy)
    return;
  const section = sections[Number(event.key) - 1];
  if (section)
    section.scrollIntoView();
  else if (event.key === 't')
    toggleTheme();
  else if (event.key === 'u')
    toggleUnit();
  else if (event.key === '?')
    help().showModal();
  else if (event.key === 'Escape' && state.iso !== null)
    choose({iso: null});
}

/** Paper is white and has no folds. */
function onPaper() {
  addEventListener('beforeprint', () => {
    setPrinting(true);
    document.documentElement.classList.add('paper');
    render();
  });
  addEventListener('afterprint', () => {
    setPrinting(false);
    document.documentElement.classList.remove('paper');
    render();
  });
}

let width = innerWidth;
addEventListener('resize', () => {
  if (width !== innerWidth)
    render();
  width = innerWidth;
});
addEventListener('keydown', onKey);
addEventListener('scroll', markSection, {passive: true});
byId('skip').addEventListener('click', (event) => {
  event.preventDefault();
  byId('s1').scrollIntoView();
  byId('say').focus();
});
onChange(render);
onSystemTheme(render);
onPaper();
readHash();
render();
