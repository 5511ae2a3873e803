/**
 * theme.js - light and dark, and the style sheet's colours for canvases
 */
import {state} from './state.js';

const darkSystem = matchMedia('(prefers-color-scheme: dark)');

/** Paper is white, whatever the screen is. */
let isPrinting = false;

/** @param {boolean} printing */
export function setPrinting(printing) {
  isPrinting = printing;
}

export function isOnPaper() {
  return isPrinting;
}

export function isDark() {
  if (isPrinting)
    return false;
  return state.theme === null ? darkSystem.matches : state.theme === 'dark';
}

/** One column, labels below the charts: as in the style sheet. */
export function isNarrow() {
  return isPrinting || innerWidth <= 900;
}

/** @param {() => void} listener */
export function onSystemTheme(listener) {
  darkSystem.addEventListener('change', listener);
}

export function applyTheme() {
  document.documentElement.dataset.theme = isDark() ? 'dark' : 'light';
}

/**
 * @param {string} name
 * @returns {string}
 */
export function colour(name) {
  return getComputedStyle(document.documentElement)
    .getPropertyValue('--' + name).trim();
}

export function font() {
  return '12px ' + colour('sans');
}

/**
 * 45 degrees, opaque: what is drawn under it must not be taken for part of it.
 *
 * @param {CanvasRenderingContext2D} context
 * @returns {CanvasPattern | string}
 */
function hatch(context) {
  const ratio = devicePixelRatio || 1;
  const side = Math.round(6 * ratio);
  const tile = document.createElement('canvas');
  tile.width = tile.height = side;
  const pen = /** @type {CanvasRenderingContext2D} */ (tile.getContext('2d'));
  pen.fillStyle = colour('bg');
  pen.fillRect(0, 0, side, side);
  pen.strokeStyle = colour('other');
  pen.lineWidth = 1.1 * ratio;
  for (const at of [-side, 0, side]) {
    pen.beginPath();
    pen.moveTo(at - 2, side + 2);
    pen.lineTo(at + side + 2, -2);
    pen.stroke();
  }
  return context.createPattern(tile, 'repeat') ?? colour('other');
}

/**
 * What a layer is filled with, in a canvas.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {string} paint
 */
export function paintOf(context, paint) {
  return paint === 'hatch' ? hatch(context) : colour(paint);
}

/**
 * The same for an element: attributes to be spread.
 *
 * @param {string} paint
 */
export function swatch(paint) {
  return paint === 'hatch'
    ? {class: 'hatch'}
    : {style: {background: `var(--${paint})`}};
}
