// What follows from the options, and from where the client runs.

import { Kept } from './storage.js';

/** @typedef {import('./types.js').Options} Options */

/**
 * What a page or a program has: what the options do not say is the place's own.
 * @param {Options} options
 */
export function placeOf(options) {
  const page = options.page !== undefined ? options.page : typeof window === 'undefined' ? null : window;
  const fetching = options.fetch ?? globalThis.fetch;
  const WebSocket = options.WebSocket ?? globalThis.WebSocket;
  if (!WebSocket) throw new TypeError('no WebSocket here: give one as an option');
  /** @type {typeof globalThis.fetch} */
  const fetch = (input, init) => fetching(input, init);
  return { page, fetch, WebSocket };
}

/**
 * Where things are kept: beyond the tab, and for the tab.
 * @param {Options} options
 * @param {EventTarget|null} page
 * @param {(error: unknown) => void} failed
 */
export function storesOf(options, page, failed) {
  /**
   * @param {() => Storage} builtin
   * @param {import('./types.js').Store|null|undefined} given
   */
  const kept = (builtin, given) => new Kept(() => (given !== undefined ? given : page ? builtin() : null), failed);
  return { local: kept(() => localStorage, options.storage), session: kept(() => sessionStorage, options.session) };
}

/**
 * @param {string|undefined} role
 * @returns {'customer'|'staff'|null}
 */
export function sideOf(role) {
  return role === 'customer' ? 'customer' : role === 'staff' || role === 'supervisor' ? 'staff' : null;
}

/** An id that nobody else makes. */
export function randomId() {
  const bytes = new Uint8Array(12);
  // Node 18 has no global crypto. Ids need not be secret, only different.
  if (globalThis.crypto) crypto.getRandomValues(bytes);
  else for (let i = 0; i < bytes.length; i += 1) bytes[i] = Math.floor(Math.random() * 256);
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
