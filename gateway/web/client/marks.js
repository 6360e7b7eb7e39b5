// How far this user has got: `delivered` by itself, `read` when the page says so. Marks are not answered, only move
// forward, and one is enough for any number of messages: the latest goes out after a moment, and again on a new
// socket whose snapshot does not have it.

import { Alarm } from './clock.js';
import { LIMITS } from './limits.js';

/** @typedef {{delivered: number, read: number}} Mark */

export class Marks {
  /**
   * @param {{clock: import('./types.js').Clock, send: (frame: object) => void}} parts
   */
  constructor({ clock, send }) {
    this.send = send;
    /** @type {Map<string, Mark>} what this user has got */
    this.wanted = new Map();
    /** @type {Map<string, Mark>} what the server knows, or is on its way to it */
    this.told = new Map();
    this.isLive = false;
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
  }

  /** @param {boolean} isLive */
  live(isLive) {
    this.isLive = isLive;
    if (isLive) this.telling.by(0);
  }

  /**
   * What was told may have been refused: again, not before this.
   * @param {number} ms
   */
  again(ms) {
    this.told.clear();
    this.telling.by(ms);
  }

  tell() {
    if (!this.isLive) return;
    for (const [conversation, wanted] of this.wanted) {
      const told = this.of(this.told, conversation);
      // Who has read has been delivered.
      if (wanted.read > told.read) {
        this.send({ action: 'read', payload: { conversation, up_to: wanted.read } });
        told.read = wanted.read;
        told.delivered = Math.max(told.delivered, wanted.read);
      }
      if (wanted.delivered > told.delivered) {
        this.send({ action: 'delivered', payload: { conversation, up_to: wanted.delivered } });
        told.delivered = wanted.delivered;
      }
    }
  }

  /** @param {string} conversation */
  forget(conversation) {
    this.wanted.delete(conversation);
    this.told.delete(conversation);
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
