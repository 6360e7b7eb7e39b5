// One socket, and whether it is still alive. A network that has gone says nothing, and a laptop that slept believes in
// its sockets: so the client asks by itself (`PING`, answered `PONG`) after a while of silence and whenever something
// hints at a change, and gives a socket up that does not answer.

import { Alarm } from './clock.js';
import { GIVEN_UP } from './codes.js';
import { LIMITS } from './limits.js';

/** @typedef {import('./types.js').Clock} Clock */
/** @typedef {import('./types.js').Socket} Socket */

/** How much later than due a tick may come before the time since the last one counts as slept through. */
const LATE_MS = 2_000;
/** What may still be unread after a late tick is read within this. */
const GRACE_MS = 1_500;

export class Link {
  /**
   * @param {{WebSocket: any, clock: Clock, url: string, frame: (frame: any) => void, closed: (code: number) => void}} parts
   */
  constructor({ WebSocket, clock, url, frame, closed }) {
    this.clock = clock;
    this.closed = closed;
    this.heard = clock.now();
    /** @type {number|null} since when an answer to `PING` is owed */
    this.asked = null;
    /** A late tick has asked, and nothing was heard since. */
    this.spared = false;
    this.giveUp = new Alarm(clock, () => this.drop());
    this.tickDue = clock.now() + LIMITS.tickMs;
    this.wallThen = clock.wall();
    this.isOpen = false;
    this.ticking = new Alarm(clock, () => this.tick());
    this.ticking.set(LIMITS.tickMs);
    /** @type {Socket} */
    this.socket = new WebSocket(url);
    this.socket.onopen = () => {
      this.isOpen = true;
    };
    this.socket.onmessage = ({ data }) => {
      this.heard = this.clock.now();
      this.asked = null;
      this.spared = false;
      this.giveUp.clear();
      if (typeof data !== 'string' || data === 'PONG') return;
      const parsed = parse(data);
      if (parsed) frame(parsed);
    };
    this.socket.onclose = ({ code }) => this.end(code);
    this.socket.onerror = () => {}; // a close follows, which says all that may be known
  }

  /** @param {string} text */
  send(text) {
    try {
      this.socket.send(text);
    } catch {
      this.drop(); // it is closing already
    }
  }

  /** Is anybody there? */
  probe() {
    if (!this.isOpen || this.asked !== null) return;
    this.asked = this.clock.now();
    this.send('PING');
  }

  tick() {
    const now = this.clock.now();
    const wall = this.clock.wall();
    // A timer that is late, or a wall clock that went on without ours: this machine slept, or was busy. Then what has
    // come meanwhile may still be unread, and the socket gets a new chance. One chance: in a hidden tab, whose timers
    // ring once a minute, every tick is late.
    const slept = now - this.tickDue > LATE_MS || Math.abs(wall - this.wallThen - LIMITS.tickMs) > 2 * LIMITS.tickMs;
    this.wallThen = wall;
    this.tickDue = now + LIMITS.tickMs;
    this.ticking.set(LIMITS.tickMs);
    if (slept && this.spared) {
      if (!this.giveUp.isSet) this.giveUp.set(GRACE_MS);
    } else if (slept) {
      this.asked = null;
      this.probe();
      this.spared = this.asked !== null;
    } else if (this.asked !== null) {
      if (now - this.asked >= LIMITS.pongMs) this.drop();
    } else if (now - this.heard >= LIMITS.quietMs) {
      this.probe();
    }
  }

  /** Gives the socket up; the user's place is kept. */
  drop() {
    this.close(GIVEN_UP);
    this.end(1006);
  }

  /**
   * Closes it without a word to `closed`.
   * @param {number} code
   */
  close(code) {
    this.forget();
    try {
      this.socket.close(code, code === GIVEN_UP ? 'given_up' : '');
    } catch {
      // it never opened
    }
  }

  forget() {
    this.ticking.clear();
    this.giveUp.clear();
    this.isOpen = false;
    this.socket.onopen = null;
    this.socket.onmessage = null;
    this.socket.onclose = null;
    this.socket.onerror = () => {}; // Node throws what nobody listens to
  }

  /** @param {number} code */
  end(code) {
    this.forget();
    this.closed(code);
  }
}

/**
 * @param {string} text
 * @returns {{action: string, payload: Record<string, any>}|null}
 */
function parse(text) {
  try {
    const { action, payload } = JSON.parse(text);
    if (typeof action !== 'string') return null;
    return { action, payload: typeof payload === 'object' && payload !== null ? payload : {} };
  } catch {
    return null;
  }
}
