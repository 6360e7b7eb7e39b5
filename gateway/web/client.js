// @ts-check
// Frontdesk's client for browsers and Node, MIT licence: what pages and programs may use of it. How to: docs/CLIENT.md.

export { CLOSE_CODES, comesBack } from './client/codes.js';
export { Frontdesk } from './client/frontdesk.js';
export { LIMITS } from './client/limits.js';

/** @typedef {import('./client/types.js').Clock} Clock */
/** @typedef {import('./client/types.js').Conversation} Conversation */
/** @typedef {import('./client/types.js').Entry} Entry */
/** @typedef {import('./client/types.js').Events} Events */
/** @typedef {import('./client/types.js').Message} Message */
/** @typedef {import('./client/types.js').MessageState} MessageState */
/** @typedef {import('./client/types.js').Notice} Notice */
/** @typedef {import('./client/types.js').Options} Options */
/** @typedef {import('./client/types.js').Problem} Problem */
/** @typedef {import('./client/types.js').Role} Role */
/** @typedef {import('./client/types.js').Socket} Socket */
/** @typedef {import('./client/types.js').State} State */
/** @typedef {import('./client/types.js').StateChange} StateChange */
/** @typedef {import('./client/types.js').Store} Store */
