/**
 * state.js - what the reader chose, kept in the address
 *
 * `#p=2&iso=holes&theme=dark&u=MB&tables=open`: a link shows the same again.
 * What is as it would be anyway is left out.
 *
 * @typedef {object} State
 * @property {number | null} p              the process shown, by id
 * @property {string | null} iso            the layer that stands alone
 * @property {'light' | 'dark' | null} theme   null: as the system has it
 * @property {boolean} isDecimal            MB rather than MiB
 * @property {boolean} isOpen               all tables, whole
 */

/** @type {State} */
export const state = {
  p: null,
  iso: null,
  theme: null,
  isDecimal: false,
  isOpen: false,
};

/** @type {(() => void)[]} */
const listeners = [];

/** @param {() => void} listener */
export function onChange(listener) {
  listeners.push(listener);
}

/** @param {Partial<State>} change */
export function choose(change) {
  Object.assign(state, change);
  writeHash();
  listeners.forEach((listener) => listener());
}

function writeHash() {
  const hash = new URLSearchParams();
  if (state.p !== null)
    hash.set('p', String(state.p));
  if (state.iso !== null)
    hash.set('iso', state.iso);
  if (state.theme !== null)
    hash.set('theme', state.theme);
  if (state.isDecimal)
    hash.set('u', 'MB');
  if (state.isOpen)
    hash.set('tables', 'open');
  const text = String(hash);
  const address = text === '' ? location.pathname + location.search
    : '#' + text;
  try {
    history.replaceState(null, '', address);
  } catch {
    /* A sandboxed page has no history; it works without. */
  }
}

export function readHash() {
  const hash = new URLSearchParams(location.hash.slice(1));
  const theme = hash.get('theme');
  const p = Number(hash.get('p') ?? NaN);
  state.p = Number.isInteger(p) ? p : null;
  state.iso = hash.get('iso');
  state.theme = theme === 'light' || theme === 'dark' ? theme : null;
  state.isDecimal = hash.get('u') === 'MB';
  state.isOpen = hash.get('tables') === 'open';
}

addEventListener('hashchange', () => {
  readHash();
  listeners.forEach((listener) => listener());
});
