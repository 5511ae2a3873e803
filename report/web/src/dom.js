/**
 * dom.js - elements, built of text and never of markup
 *
 * Names in a recording are somebody else's words. Nothing here, and nothing
 * that uses it, parses a string as HTML.
 */

/**
 * @typedef {Node | string | number | null | undefined | false} Child
 * @typedef {Child | Child[]} Children
 */

/**
 * An element. Attributes that are null or false are left out; those that start
 * with "on" are listeners; "style" is an object of properties.
 *
 * @param {string} tag
 * @param {Record<string, any> | null} attributes
 * @param {...Children} children
 * @returns {HTMLElement}
 */
export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {}))
    set(element, name, value);
  fill(element, ...children);
  return element;
}

/**
 * @param {HTMLElement} element
 * @param {string} name
 * @param {any} value
 */
function set(element, name, value) {
  if (value === null || value === undefined || value === false)
    return;
  if (name.startsWith('on'))
    element.addEventListener(name.slice(2), value);
  else if (name === 'style')
    for (const [property, of] of Object.entries(value))
      element.style.setProperty(property, String(of));
  else
    element.setAttribute(name, value === true ? '' : String(value));
}

/**
 * Replaces what is in an element.
 *
 * @param {Element} element
 * @param {...Children} children
 */
export function fill(element, ...children) {
  element.replaceChildren();
  for (const child of children.flat())
    if (child !== null && child !== undefined && child !== false)
      element.append(child instanceof Node ? child : String(child));
}

/**
 * @param {string} id
 * @returns {HTMLElement}
 */
export function byId(id) {
  const element = document.getElementById(id);
  if (element === null)
    throw new Error(`the page has no #${id}`);
  return element;
}

/**
 * Words of our own with `code` in them, as nodes.
 *
 * @param {string} words
 * @returns {Node[]}
 */
export function prose(words) {
  return words.split('`').map((part, i) =>
    i % 2 === 1 ? h('code', null, part) : document.createTextNode(part));
}
