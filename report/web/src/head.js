/**
 * head.js - what was recorded, the page's few controls, its keys
 */
import {commandOf, endOf} from './data.js';
import {byId, fill, h} from './dom.js';
import {duration} from './format.js';
import {choose, state} from './state.js';
import {isDark} from './theme.js';

/** @typedef {import('./main.js').Shown} Shown */

/** @type {Record<string, string>} */
const LEVELS = {
  watch: 'arenas, mappings and censuses: small objects have types, not lines',
  exact: 'every allocation, with its line',
  inspect: 'censuses only: nothing was preloaded',
};

/** @param {Shown} shown */
function identity({process, recording}) {
  const lived = duration(endOf(process) - process.start_us);
  return [
    h('b', {class: 'mono'}, commandOf(process)),
    `pid ${process.pid}`,
    process.python === null ? 'no Python' : `CPython ${process.python}`,
    lived,
    recording.host,
    h('span', {title: LEVELS[process.level]}, process.level),
  ].filter((part) => part !== null).map((part) => h('span', null, part));
}

/** @param {Shown} shown */
function chooser({process, recording}) {
  const {processes} = recording;
  if (processes.length < 2)
    return null;
  return h('select', {
    id: 'chooser',
    'aria-label': 'Process shown',
    onchange: (/** @type {Event} */ event) => choose({
      p: Number(/** @type {HTMLSelectElement} */ (event.target).value),
      iso: null,
    }),
  }, processes.map((other, i) => h('option', {
    value: other.id,
    selected: other === process,
  }, `${i + 1}/${processes.length} ${other.name} ${other.pid}`)));
}

export function toggleTheme() {
  choose({theme: isDark() ? 'light' : 'dark'});
}

export function toggleUnit() {
  choose({isDecimal: !state.isDecimal});
}

/** @param {Shown} shown */
export function header(shown) {
  /**
   * @param {string} text
   * @param {string} title
   * @param {() => void} onclick
   * @param {string} [more]
   */
  const button = (text, title, onclick, more = '') =>
    h('button', {class: `btn ${more}`, type: 'button', title, onclick}, text);
  document.title = `residue · ${commandOf(shown.process)}`;
  fill(byId('what'), identity(shown));
  fill(byId('tools'), chooser(shown),
    button(state.isDecimal ? 'MB' : 'MiB', 'MiB or MB (u)', toggleUnit),
    button(isDark() ? 'Light' : 'Dark', 'Light or dark (t)', toggleTheme),
    button('Print', 'Print this page', () => print(), 'opt'),
    button('?', 'Keys (?)', () => help().showModal(), 'opt'));
}

/** The sections that this process has, numbered as they stand. */
export function navigation() {
  const sections = [...document.querySelectorAll('section[data-nav]')]
    .map((section) => /** @type {HTMLElement} */ (section))
    .filter((section) => !section.hidden);
  fill(byId('nav'), sections.map((section, i) => h('a', {
    href: `#${section.id}`,
    onclick: (/** @type {Event} */ event) => {
      event.preventDefault();
      section.scrollIntoView();
    },
  }, h('i', null, i + 1), section.dataset.nav ?? '')));
  markSection();
  return sections;
}

export function markSection() {
  const links = [...document.querySelectorAll('nav a')];
  let current = links[0];
  for (const link of links) {
    const section = document.querySelector(link.getAttribute('href') ?? '');
    if (section && section.getBoundingClientRect().top < 150)
      current = link;
  }
  links.forEach((link) => {
    link.classList.toggle('on', link === current);
    link.toggleAttribute('aria-current', link === current);
  });
}

/** @returns {HTMLDialogElement} */
export function help() {
  const dialog = /** @type {HTMLDialogElement} */ (byId('help'));
  if (dialog.childElementCount === 0)
    fill(dialog, h('h2', {id: 'help-title'}, 'Keys'),
      h('table', null, h('tbody', null, [
        ['1 to 9', 'go to a section'],
        ['← →', 'from census to census'],
        ['Esc', 'all layers again'],
        ['t', 'light or dark'],
        ['u', 'MiB or MB'],
        ['?', 'this list'],
      ].map(([key, does]) => h('tr', null, h('td', null, h('kbd', null, key)),
        h('td', null, does))))),
      h('form', {method: 'dialog', class: 'right'},
        h('button', {class: 'btn line'}, 'Close')));
  return dialog;
}
