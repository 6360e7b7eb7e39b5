// Who types: told while it goes on, and believed for a moment only (docs/PROTOCOL.md).

import { Alarm } from './clock.js';
import { LIMITS } from './limits.js';

export class Typing {
  /**
   * @param {{clock: import('./types.js').Clock, send: (frame: object) => void,
   *   tell: (conversation: string, uid: string|null, on: boolean) => void}} parts
   */
  constructor({ clock, send, tell }) {
    this.clock = clock;
    this.send = send;
    this.tell = tell;
    /** @type {Map<string, {at: number, stop: Alarm}>} where this user types */
    this.own = new Map();
    /** @type {Map<string, {uid: string|null, fade: Alarm}>} where the other side does */
    this.others = new Map();
  }

  /**
   * A key was pressed.
   * @param {string} conversation
   */
  types(conversation) {
    const now = this.clock.now();
    const own = this.own.get(conversation) ?? { at: -Infinity, stop: new Alarm(this.clock, () => this.stops(conversation)) };
    this.own.set(conversation, own);
    own.stop.set(LIMITS.typingStopMs);
    if (now - own.at < LIMITS.typingAgainMs) return;
    own.at = now;
    this.send({ action: 'typing', payload: { conversation, on: true } });
  }

  /** @param {string} conversation */
  stops(conversation) {
    if (this.said(conversation)) this.send({ action: 'typing', payload: { conversation, on: false } });
  }

  /**
   * A message went out, which says that its typing is over.
   * @param {string|null} conversation
   */
  said(conversation) {
    const own = conversation === null ? undefined : this.own.get(conversation);
    own?.stop.clear();
    return conversation !== null && this.own.delete(conversation);
  }

  /**
   * @param {string} conversation
   * @param {string|null} uid
   * @param {boolean} on
   */
  told(conversation, uid, on) {
    const other = this.others.get(conversation);
    if (on === Boolean(other)) return other?.fade.set(LIMITS.typingFadesMs);
    if (on) {
      const fade = new Alarm(this.clock, () => this.told(conversation, uid, false));
      fade.set(LIMITS.typingFadesMs);
      this.others.set(conversation, { uid, fade });
    } else {
      other?.fade.clear();
      this.others.delete(conversation);
    }
    this.tell(conversation, other?.uid ?? uid, on);
  }

  /** The socket is gone: nobody will say that they have stopped. */
  lost() {
    for (const [conversation, { uid }] of [...this.others]) this.told(conversation, uid, false);
    for (const { stop } of this.own.values()) stop.clear();
    this.own.clear();
  }
}
