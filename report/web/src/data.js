/**
 * data.js - what report/page_data.c wrote, decoded
 *
 * Tables come as columns, some of them as differences; here they become plain
 * arrays. null is unknown and stays null.
 *
 * @typedef {(number | null)[]} Numbers
 *
 * @typedef {object} Censuses
 * @property {number[]} t_us
 * @property {number[]} rss_bytes
 * @property {string[]} kind
 * @property {Numbers} torn
 * @property {Numbers} arenas
 * @property {Numbers} arenas_pinned
 * @property {Numbers} arenas_empty
 * @property {Numbers[]} ledger     by cause, then by census
 *
 * @typedef {object} Moment         the census that the tables are of
 * @property {number} t_us
 * @property {string} kind
 * @property {number | null} skew_bytes
 * @property {number | null} in_swap
 * @property {number | null} swap_bytes
 * @property {number | null} torn
 * @property {number | null} python_large_error   of native_live: either's
 * @property {Cgroup | null} cgroup
 * @property {Heap[]} heaps
 * @property {Module[]} mappings
 * @property {Record<string, any>[]} blocks27
 * @property {Record<string, any>[]} free_lists
 * @property {Record<string, number | null>} arenas
 * @property {Record<string, number>[]} classes
 * @property {Type[] | null} types
 * @property {number} [types_t_us]
 * @property {Type[]} [other_types] one row: those without room here
 * @property {number} [other_types_n]
 *
 * @typedef {Record<'current' | 'max' | 'oom_kills' | 'anon' | 'file' |
 *   'shmem' | 'kernel' | 'others', number | null>} Cgroup
 *
 * @typedef {object} Heap
 * @property {number | null} address   null: all mmapped chunks
 * @property {string} kind
 * @property {number | null} resident_bytes
 * @property {number | null} chunks
 * @property {number | null} live_bytes
 * @property {number | null} cached_chunks
 * @property {number | null} cached_bytes
 * @property {number | null} trimmable_bytes
 * @property {number | null} page_pinned_bytes
 * @property {number | null} trim_gain_bytes
 * @property {number | null} is_torn
 *
 * @typedef {object} Module
 * @property {string} module
 * @property {number} count
 * @property {number} bytes
 * @property {number} resident_bytes
 *
 * @typedef {object} Type
 * @property {string} name
 * @property {number} count
 * @property {number} bytes
 * @property {number | null} held_exclusive_bytes
 * @property {number | null} held_split_bytes
 * @property {number | null} exclusive_bytes
 *
 * @typedef {object} Process
 * @property {number} id
 * @property {number} pid
 * @property {number | null} ppid
 * @property {string} name
 * @property {string} [exe]
 * @property {string} [command]     a JSON array, with --names only
 * @property {string | null} python
 * @property {string} level
 * @property {string | null} note
 * @property {number} start_us
 * @property {number | null} end_us
 * @property {number | null} exit
 * @property {number | null} vm_hwm_bytes
 * @property {{allocs: number | null, frees: number | null}} malloc
 * @property {{events: number | null, batches: number | null}} loss
 * @property {{cpu_us: number | null, read_bytes: number | null}} collector
 * @property {Censuses} censuses
 * @property {{of: number, t_us: number[], rss_min: Numbers,
 *   rss_max: Numbers}} ticks
 * @property {{of: number, t_us: number[], generation: number[],
 *   pause_us: number[]}} collections
 * @property {Record<string, number | null>[]} gc
 * @property {number} [at]          the moment's census
 * @property {Moment} [moment]      none: no census was taken
 *
 * @typedef {object} Finding
 * @property {string} id
 * @property {number} process
 * @property {number} bytes
 * @property {string | null} owner
 * @property {number} score
 * @property {string} confidence
 * @property {string} sentence
 * @property {string} evidence
 * @property {string} action
 *
 * @typedef {object} Recording
 * @property {string} version
 * @property {string} recording
 * @property {string} moment
 * @property {boolean} sealed
 * @property {string | null} host
 * @property {string | null} kernel
 * @property {number | null} started_unix_ns
 * @property {number | null} ended_us
 * @property {{cpu_us: number | null, survey_cpu_us: number | null}} collector
 * @property {{word: string, meaning: string}[]} causes
 * @property {{t_us: number, process: number | null, kind: string,
 *   text: string | null}[]} events
 * @property {Finding[]} verdict
 * @property {Process[]} processes
 */

/**
 * Sums differences up, in place; null says nothing about the next.
 *
 * @param {any[]} column
 */
export function integrate(column) {
  if (Array.isArray(column[0])) {
    column.forEach(integrate);
    return;
  }
  let sum = 0;
  for (let i = 0; i < column.length; i++)
    if (column[i] !== null)
      column[i] = sum += column[i];
}

/** @param {any} table */
function decode(table) {
  for (const name of table.differences)
    integrate(table[name]);
}

/**
 * Columns as rows.
 *
 * @param {Record<string, any[]>} columns
 * @returns {any[]}
 */
export function rowsOf(columns) {
  const names = Object.keys(columns);
  return columns[names[0]].map((_, i) =>
    Object.fromEntries(names.map((name) => [name, columns[name][i]])));
}

/** @param {any} moment */
function decodeMoment(moment) {
  for (const name of
    ['classes', 'heaps', 'mappings', 'blocks27', 'free_lists'])
    moment[name] = rowsOf(moment[name]);
  moment.types = moment.types === null ? null : rowsOf(moment.types);
  if (moment.other_types)
    moment.other_types = rowsOf(moment.other_types);
}

/**
 * @param {string} text
 * @returns {Recording}
 */
export function read(text) {
  const recording = JSON.parse(text);
  for (const process of recording.processes) {
    process.name ??= '?';
    decode(process.censuses);
    decode(process.ticks);
    decode(process.collections);
    process.gc = rowsOf(process.gc);
    if (process.moment)
      decodeMoment(process.moment);
  }
  return recording;
}

/**
 * When a process ended, or was last seen.
 *
 * @param {Process} process
 * @returns {number}
 */
export function endOf(process) {
  return process.end_us ?? Math.max(process.start_us,
    process.censuses.t_us.at(-1) ?? 0, process.ticks.t_us.at(-1) ?? 0);
}

/**
 * "gunicorn shop.wsgi:app" where names are shown, else the program's name.
 *
 * @param {Process} process
 * @returns {string}
 */
export function commandOf(process) {
  if (!process.command)
    return process.name;
  try {
    const words = JSON.parse(process.command);
    return words.map(quote).join(' ');
  } catch {
    return process.name;
  }
}

/**
 * A word as a shell needs it.
 *
 * @param {any} word
 * @returns {string}
 */
export function quote(word) {
  const text = String(word);
  return /^[\w@%+=:,./-]+$/.test(text)
    ? text
    : `'${text.replaceAll("'", "'\\''")}'`;
}
