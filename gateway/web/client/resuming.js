// `resume`: the first frame on each socket, again after `resync`, and whenever something is missing or does not fit.
// Its answer is a snapshot and a history for each position; until it is there nothing else goes out.

import { Alarm } from './clock.js';
import { LIMITS } from './limits.js';

/** @typedef {import('./types.js').Payload} Payload */

/** So many within so long on one socket: something is wrong that another socket may not have. */
const MOST = 8;
const WITHIN_MS = 30_000;

export class Resuming {
  /**
   * @param {{clock: import('./types.js').Clock, send: (frame: object) => void, positions: () => {conversation: string}[],
   *   begun: () => void, snapshot: (payload: Payload, asked: string[]) => void, history: (payload: Payload) => void,
   *   done: () => void, failed: () => void}} parts `failed`: this socket is no good
   */
  constructor(parts) {
    this.parts = parts;
    this.clock = parts.clock;
    this.sending = new Alarm(parts.clock, () => this.send());
    this.late = new Alarm(parts.clock, () => parts.failed());
    /**
     * Of the connection that this one replaces.
     * @type {string|null}
     */
    this.token = null;
    this.isOpen = false;
    /** @type {string[]|null} what was asked for, until the snapshot is here */
    this.asked = null;
    /** @type {Set<string>} histories that are to come */
    this.left = new Set();
    /** @type {number[]} when it was sent on this socket */
    this.times = [];
  }

  /**
   * A socket was welcomed.
   * @param {string|null} token of the one before
   */
  begin(token) {
    this.lost();
    this.isOpen = true;
    this.token = token;
    this.send();
  }

  /** As soon as may be. */
  want() {
    if (!this.isOpen || this.sending.isSet) return;
    const last = this.times[this.times.length - 1] ?? -Infinity;
    this.sending.set(Math.max(last + LIMITS.resumeMs - this.clock.now(), 0));
  }

  send() {
    const now = this.clock.now();
    if (this.asked !== null || this.left.size > 0) return this.sending.set(LIMITS.resumeMs); // one after the other
    this.times = [...this.times.filter((at) => now - at < WITHIN_MS), now];
    if (this.times.length > MOST) return this.parts.failed();
    this.parts.begun();
    const positions = this.parts.positions();
    this.asked = positions.map(({ conversation }) => conversation);
    this.late.set(LIMITS.enterMs);
    this.parts.send({ action: 'resume', payload: { ...(this.token !== null && { token: this.token }), positions } });
  }

  /** @param {Payload} payload */
  snapshot(payload) {
    if (this.asked === null) return; // of one that was taken for refused
    const asked = this.asked;
    this.asked = null;
    this.token = null;
    this.left = new Set(asked);
    this.parts.snapshot(payload, asked);
    this.look();
  }

  /** @param {Payload} payload */
  history(payload) {
    if (!this.left.delete(payload.conversation)) return;
    this.parts.history(payload);
    this.look();
  }

  look() {
    if (!this.isOpen || this.left.size > 0 || this.asked !== null) return;
    this.late.clear();
    this.parts.done();
  }

  /**
   * An error that names no frame: perhaps it is about this one. Returns whether it certainly is.
   * @param {string} code
   * @param {number} retryAfterMs
   */
  refused(code, retryAfterMs) {
    if (this.asked === null) return false;
    if (code === 'bad_resume') {
      this.token = null;
      this.asked = null;
      this.send();
      return true;
    }
    if (code === 'busy' || code === 'rate_limited') {
      this.asked = null;
      this.sending.set(Math.min(Math.max(retryAfterMs, 50), LIMITS.enterMs) * (1 + this.clock.random() / 4));
      this.late.set(LIMITS.enterMs + retryAfterMs);
    }
    return false;
  }

  lost() {
    this.sending.clear();
    this.late.clear();
    this.isOpen = false;
    this.asked = null;
    this.left.clear();
    this.times = [];
  }
}
