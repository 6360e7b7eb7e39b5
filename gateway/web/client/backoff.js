// How long to wait before coming back: anything up to a bound that doubles ("full jitter"), so that those who were
// cut off together do not return together.

import { LIMITS } from './limits.js';

export class Backoff {
  /** @param {() => number} random */
  constructor(random) {
    this.random = random;
    this.failures = 0;
  }

  /**
   * The next pause in ms. What the server asks for comes first, and chance after it.
   * @param {number} [retryAfterMs]
   */
  next(retryAfterMs = 0) {
    const bound = Math.min(LIMITS.backoffMaxMs, LIMITS.backoffMs * 2 ** Math.min(this.failures, 16));
    this.failures += 1;
    return Math.min(Math.max(retryAfterMs, 0), LIMITS.retryAfterMs) + this.random() * bound;
  }

  reset() {
    this.failures = 0;
  }
}
