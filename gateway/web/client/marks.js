// How far this user has got: `delivered` by itself, `read` when the page says so. Marks are not answered, only move
// forward, and one is enough for any number of messages: the latest goes out after a moment, and again on a new
// socket whose snapshot does not have it.

import { Alarm } from './clock.js';
import { LIMITS } from './limits.js';

/** @typedef {{delivered: number, read: number}} Mark */

export class Marks {
  /**
   * @param {{clock: import('./types.js').Clock, send: (frame: object) => void, isOver: (conversation: string) => boolean}} parts
   */
  constructor({ clock, send, isOver }) {
    this.clock = clock;
    this.send = send;
    this.isOver = isOver;
    /** @type {Map<string, Mark>} what this user has got */
    this.wanted = new Map();
    /** @type {Map<string, Mark>} what the server knows, or is on its way to it */
    this.told = new Map();
    /** @type {{conversation: string, at: number, before: Mark}[]} what may still be refused */
    this.recent = [];
    this.isLive = false;
    /** After a refusal: nothing before, one at a time, and longer after each. */
    this.notBefore = -Infinity;
    this.refusals = 0;
    this.telling = new Alarm(clock, () => this.tell());
  }

  /**
   * @param {string} conversation
   * @param {'delivered'|'read'} mark
   * @param {number} upTo
   */
  want(conversation, mark, upTo) {
    const wanted = this.of(this.wanted, conversation);
    if (wanted[mark] >= upTo) return;
    wanted[mark] = upTo;
    this.telling.by(LIMITS.markMs);
  }

  /**
   * What the server says of them.
   * @param {string} conversation
   * @param {Mark} mark
   */
  know(conversation, { delivered, read }) {
    this.told.set(conversation, { delivered, read });
    this.recent = this.recent.filter((told) => told.conversation !== conversation);
  }

  /** @param {boolean} isLive */
  live(isLive) {
    this.isLive = isLive;
    if (isLive) this.telling.by(0);
  }

  /**
   * One of those that were told a moment ago may have been refused: these again, not before this. What the server asks
   * for is the time to one frame, so it is not waited for alone.
   * @param {number} ms
   */
  again(ms) {
    const now = this.clock.now();
    this.fade(now);
    if (this.recent.length === 0) return;
    for (const { conversation, before } of this.recent.splice(0).reverse()) this.told.set(conversation, before);
    if (now >= this.notBefore) this.refusals += 1;
    const wait = Math.min(LIMITS.backoffMs * 2 ** (this.refusals - 1), LIMITS.backoffMaxMs);
    this.notBefore = now + Math.max(ms, wait * (1 + this.clock.random() / 4));
    this.telling.set(this.notBefore - now);
  }

  /**
   * What was told long ago was taken.
   * @param {number} now
   */
  fade(now) {
    this.recent = this.recent.filter(({ at }) => now - at < LIMITS.markRefusedMs);
    if (this.recent.length === 0 && now - this.notBefore >= LIMITS.backoffMaxMs) this.refusals = 0;
  }

  /** Tells some, and the rest a moment later: each frame counts for the user's rate. */
  tell() {
    if (!this.isLive) return;
    const now = this.clock.now();
    if (now < this.notBefore) return this.telling.by(this.notBefore - now);
    this.fade(now);
    let room = this.refusals > 0 ? 1 : LIMITS.marks;
    for (const [conversation, wanted] of [...this.wanted]) {
      const told = this.of(this.told, conversation);
      const before = { ...told };
      // Who has read has been delivered.
      const mark = wanted.read > told.read ? 'read' : wanted.delivered > told.delivered ? 'delivered' : null;
      if (mark === null) {
        this.prune(conversation);
        continue;
      }
      if (room === 0) return this.telling.by(LIMITS.markMs);
      room -= 1;
      told[mark] = wanted[mark];
      told.delivered = Math.max(told.delivered, told.read);
      this.recent.push({ conversation, at: now, before });
      this.send({ action: mark, payload: { conversation, up_to: wanted[mark] } });
      if (wanted.delivered > told.delivered) this.telling.by(LIMITS.markMs);
    }
  }

  /**
   * Everything is told of a conversation: when it is over nothing more is to come.
   * @param {string} conversation
   */
  prune(conversation) {
    if (!this.isOver(conversation) || this.recent.some((told) => told.conversation === conversation)) return;
    this.wanted.delete(conversation);
    this.told.delete(conversation);
  }

  /** @param {string} conversation of which Redis has lost the end: nobody has got what is written there now */
  forget(conversation) {
    this.wanted.delete(conversation);
  }

  /** It is somebody else now. */
  clear() {
    this.wanted.clear();
    this.told.clear();
    this.recent = [];
    this.telling.clear();
  }

  /**
   * @param {Map<string, Mark>} marks
   * @param {string} conversation
   */
  of(marks, conversation) {
    const mark = marks.get(conversation) ?? { delivered: 0, read: 0 };
    marks.set(conversation, mark);
    return mark;
  }
}
