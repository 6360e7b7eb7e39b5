// Close codes: the table of docs/PROTOCOL.md, which a test holds against it.

/** @type {Readonly<Record<number, {name: string, back: boolean}>>} `back`: whether a client comes back by itself */
export const CLOSE_CODES = Object.freeze({
  1000: { name: 'normal', back: false },
  1001: { name: 'going_away', back: true },
  1002: { name: 'protocol_error', back: false },
  1003: { name: 'binary_frame', back: false },
  1007: { name: 'invalid_utf8', back: false },
  1009: { name: 'too_big', back: false },
  1013: { name: 'try_again', back: true },
  4000: { name: 'resync', back: true },
  4001: { name: 'slow_consumer', back: true },
  4002: { name: 'append_unknown', back: true },
  4003: { name: 'ping_timeout', back: true },
  4004: { name: 'out_of_order', back: true },
  4401: { name: 'token_expired', back: true },
  4500: { name: 'too_many_connections', back: false },
  4501: { name: 'revoked', back: false },
  4502: { name: 'replaced', back: false },
});

/** What the client itself closes a socket with that it gives up: not 1000, which would be leaving. */
export const GIVEN_UP = 3001;

/**
 * Whether a socket that ended so is opened again. What no rule names (1005, 1006 and what proxies make up) is
 * a broken connection.
 * @param {number} code
 */
export function comesBack(code) {
  const never = code === 1000 || code === 1002 || code === 1003 || (code >= 1007 && code <= 1010);
  return !never && !(code >= 4500 && code <= 4999);
}
