/**
 * words.js - the terms of the page, explained where they stand
 *
 * The definitions are those of the design's list of words, in one sentence
 * each. A term is a button; pressing it shows the sentence beside it.
 */
import {byId, fill, h} from './dom.js';

/** @type {Record<string, string>} */
export const WORDS = {
  'needed': 'What remains of RSS after what is held, residue’s own pages and ' +
    'the unexplained: live objects, code, files, stacks, overheads.',
  'held': 'Resident bytes that no live block uses: holes, free pools, what ' +
    'is never returned and what malloc keeps free.',
  'unexplained': 'Pages whose cause nobody can prove: mapped by a system ' +
    'call of the program’s own, or before residue was there; the rest of a ' +
    'heap that changed while it was read. A set of pages, never a difference.',
  'RSS': 'Resident set size: the bytes of all pages of the process that are ' +
    'in memory now.',
  'arena': 'What CPython takes from the system and gives back as one piece: ' +
    '1 MiB since 3.10, 256 KiB before.',
  'pool': 'A part of an arena, cut into blocks of one size class: 16 KiB ' +
    'since 3.10, 4 KiB before.',
  'size class': 'Blocks of up to 512 bytes are rounded up to one of these ' +
    'sizes; larger ones come from malloc.',
  'live': 'A block in use that does not wait on a type’s free list.',
  'hole': 'A free block of a pool that has a live one. Only a block of the ' +
    'same class can use it.',
  'free pool': 'A pool without a live block. Any class may use it, but it ' +
    'goes back only with its whole arena.',
  'pinned': 'An arena that has been full and has been under 25 % occupied ' +
    'for a minute, or is so at the end: a few blocks keep all of it.',
  'pin': 'A block in use of a pinned arena.',
  'empty': 'An arena without a block in use. Since 3.9 CPython keeps one by ' +
    'design.',
  'exclusive': 'Held bytes of arenas all of whose live blocks have this one ' +
    'type.',
  'split': 'Held bytes of the other arenas, shared out by live bytes.',
  'leverage': 'Exclusive held bytes for each live byte of the type in those ' +
    'arenas.',
  'trimmable': 'Resident pages of malloc’s heaps that are free as a whole: ' +
    'malloc_trim(0) gives most of them back.',
  'page-pinned': 'Free bytes of malloc’s heaps on pages that a live block is ' +
    'on, too: no trimming returns them.',
  'cached': 'Freed blocks in the threads’ caches of malloc, which wait for ' +
    'the next request of their size.',
  'cgroup': 'The memory control group, which a container’s limit is for: ' +
    'all its processes, page cache, shared memory, and the kernel’s part.',
  'census': 'One reading of the heap from outside, while the program runs.',
  'tick': 'Ten times a second: RSS, and the counters.',
  'profiler': 'residue’s own pages in the process.',
  'skew': 'RSS after the census less RSS before: how much it moved meanwhile.',
  'torn': 'Pools and heaps that changed while they were read, and could ' +
    'not be read whole.',
  'never returned': 'What the interpreter keeps for reuse by design.',
};

/**
 * A term, as a button that explains it.
 *
 * @param {string} term
 * @param {string} [shown]    how it is written here
 * @returns {Node}
 */
export function word(term, shown = term) {
  return h('button', {
    class: 'word',
    type: 'button',
    onclick: explain,
    'data-term': term,
  }, shown);
}

/** @param {Event} event */
function explain(event) {
  const button = /** @type {HTMLElement} */ (event.currentTarget);
  const term = button.dataset.term ?? '';
  const note = byId('word');
  event.stopPropagation();
  if (typeof note.showPopover !== 'function') {
    byId('words').scrollIntoView();
    return;
  }
  fill(note, h('b', null, term), ' ' + WORDS[term]);
  note.showPopover();
  const {left, bottom, top} = button.getBoundingClientRect();
  const {offsetWidth: width, offsetHeight: height} = note;
  const isBelow = bottom + 6 + height < innerHeight;
  note.style.left =
    Math.max(8, Math.min(left, document.body.clientWidth - width - 8)) + 'px';
  note.style.top = (isBelow ? bottom + 6 : top - 6 - height) + 'px';
}

/** The whole list. */
export function glossary() {
  return h('dl', {class: 'gl', id: 'words'},
    Object.entries(WORDS).map(([term, meaning]) =>
      h('div', null, h('dt', null, term), h('dd', null, meaning))));
}
