// Time and chance.

/** @typedef {import('./types.js').Clock} Clock */

/** @returns {Clock} */
export function realClock() {
  return {
    now: () => performance.now(),
    wall: () => Date.now(),
    setTimeout: (work, ms) => setTimeout(work, ms),
    clearTimeout: (timer) => clearTimeout(timer),
    random: () => Math.random(),
  };
}

/** One thing that is to happen later: setting it again replaces what was set. */
export class Alarm {
  /**
   * @param {Clock} clock
   * @param {() => void} work
   */
  constructor(clock, work) {
    this.clock = clock;
    this.work = work;
    /** @type {any} */
    this.timer = null;
    this.at = Infinity;
  }

  /** @param {number} ms */
  set(ms) {
    this.clear();
    this.at = this.clock.now() + ms;
    // A timer holds at most 24.8 days: a longer one is set again on the way.
    this.timer = this.clock.setTimeout(() => this.ring(), Math.min(Math.max(ms, 0), 2 ** 31 - 1));
  }

  /**
   * Not later than this.
   * @param {number} ms
   */
  by(ms) {
    if (this.clock.now() + ms < this.at) this.set(ms);
  }

  get isSet() {
    return this.timer !== null;
  }

  clear() {
    if (this.timer !== null) this.clock.clearTimeout(this.timer);
    this.timer = null;
    this.at = Infinity;
  }

  ring() {
    const left = this.at - this.clock.now();
    if (left > 2 ** 30) return this.set(left);
    this.timer = null;
    this.at = Infinity;
    this.work();
  }
}
