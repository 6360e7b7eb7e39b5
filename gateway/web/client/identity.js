// Who comes in, and with what: a signed-in user by tokens that the page gives, an anonymous visitor, or anybody in
// open mode. Asks the cluster for the ticket that opens one socket, and for newer tokens before they run out.

import { LIMITS } from './limits.js';

/** @typedef {import('./types.js').Options} Options */
/** @typedef {import('./types.js').Clock} Clock */
/** @typedef {import('./storage.js').Kept} Kept */
/** @typedef {{query: Record<string, string>, token: string|null, uid: string|null, expires: {inMs: number}|{at: number}|null}} Entrance */

/** Why nobody was let in. */
export class Refusal extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {{final?: boolean, retryAfterMs?: number, status?: number}} more
   */
  constructor(code, message, { final = false, retryAfterMs = 0, status = 0 } = {}) {
    super(message);
    this.code = code;
    this.final = final;
    this.retryAfterMs = retryAfterMs;
    this.status = status;
  }
}

export class Identity {
  /**
   * @param {Options} options
   * @param {{fetch: typeof fetch, clock: Clock, local: Kept}} parts
   */
  constructor(options, { fetch, clock, local }) {
    this.options = options;
    this.fetch = fetch;
    this.clock = clock;
    this.local = local;
    this.refusals = 0;
    /**
     * In open mode: who the cluster said we are, so that the next socket is the same user's.
     * @type {string|undefined}
     */
    this.known = options.uid;
    /** Answers to what was asked before the user was forgotten are not kept. */
    this.era = 0;
    /** The last token was refused: the page is asked for another one. */
    this.refused = false;
    this.visitorName = `frontdesk:${options.site ?? 'default'}:visitor`;
  }

  get isVisitor() {
    return !this.options.open && !this.options.token;
  }

  /** Who it is, as far as that is known before anybody was asked. */
  get uid() {
    const visitor = this.isVisitor ? this.local.get(this.visitorName)?.uid : null;
    const uid = this.options.uid ?? visitor;
    return typeof uid === 'string' ? uid : null;
  }

  /**
   * What opens one socket.
   * @param {string} base
   * @param {(uid: string) => void} mayBe is told whom the page's token names, before the cluster is asked
   * @returns {Promise<Entrance>}
   */
  async enter(base, mayBe) {
    const { open, lang, site, role } = this.options;
    const query = definedOnly(lang ? { lang } : {});
    if (open) {
      const uid = this.known;
      return { query: definedOnly({ ...query, site, uid, role }), token: null, uid: uid ?? null, expires: null };
    }
    const entrance = this.isVisitor ? await this.visitor(base) : await this.ticket(base, mayBe);
    this.refusals = 0;
    return { ...entrance, query: { ...query, ...entrance.query } };
  }

  /**
   * A newer token for the socket that there is.
   * @param {string} base
   * @returns {Promise<Entrance|null>}
   */
  async renew(base) {
    if (this.options.open) return null;
    if (this.isVisitor) return this.visitor(base);
    const token = await this.ask();
    return { query: {}, token, uid: claims(token).sub ?? null, expires: expiry(token) };
  }

  /** Was refused although the cluster had let it in, or was revoked. */
  forget() {
    this.era += 1;
    this.known = this.options.uid;
    if (this.isVisitor) this.local.remove(this.visitorName);
    this.refused = true;
  }

  /** @returns {Promise<string>} */
  async ask() {
    const asked = this.options.token?.({ refused: this.refused });
    const token = await withDeadline(this.clock, Promise.resolve(asked), 'no token came in time').catch((error) => {
      if (error instanceof Refusal) throw error;
      throw new Refusal('no_token', `the page's token(): ${error?.message ?? error}`);
    });
    if (token === null) throw new Refusal('signed_out', 'nobody is signed in', { final: true });
    if (typeof token !== 'string' || token === '') throw new Refusal('no_token', 'token() must give a text');
    this.refused = false;
    return token;
  }

  /**
   * @param {string} base
   * @param {(uid: string) => void} mayBe
   * @returns {Promise<Entrance>}
   */
  async ticket(base, mayBe) {
    for (let attempt = 0; ; attempt += 1) {
      const token = await this.ask();
      const { sub: named } = claims(token);
      if (typeof named === 'string') mayBe(named);
      try {
        const answer = await this.post(`${base}/api/v1/tickets`, token, undefined);
        return { query: { ticket: String(answer.ticket) }, token, uid: claims(token).sub ?? null, expires: expiry(token) };
      } catch (error) {
        if (!(error instanceof Refusal) || error.status !== 401) throw error;
        this.refused = true;
        this.refusals += 1;
        if (this.refusals >= LIMITS.refusals) throw new Refusal('unauthorized', error.message, { final: true });
        if (attempt > 0) throw error; // a fresh one was refused, too: later
      }
    }
  }

  /**
   * The same visitor as before, or a new one.
   * @param {string} base
   * @returns {Promise<Entrance>}
   */
  async visitor(base) {
    const kept = this.local.get(this.visitorName);
    const token = typeof kept?.token === 'string' ? kept.token : null;
    const { site, lang } = this.options;
    const body = definedOnly({ site, lang });
    const { era } = this;
    let answer;
    try {
      answer = await this.post(`${base}/api/v1/visitors`, token, body);
    } catch (error) {
      if (!(error instanceof Refusal) || error.status !== 401 || token === null || era !== this.era) throw error;
      this.local.remove(this.visitorName);
      answer = await this.post(`${base}/api/v1/visitors`, null, body);
    }
    // Something in between may answer 200 with a page of its own.
    if (![answer?.uid, answer?.token, answer?.ticket].every((text) => typeof text === 'string')) {
      throw new Refusal('unreachable', 'what answers is no gateway');
    }
    if (era !== this.era) throw new Refusal('forgotten', 'this visitor was forgotten meanwhile');
    const uid = String(answer.uid);
    this.local.set(this.visitorName, { token: answer.token, uid });
    const inMs = Number(answer.token_expires_in_s) * 1000;
    const expires = Number.isFinite(inMs) ? { inMs } : null;
    return { query: { ticket: String(answer.ticket) }, token: String(answer.token), uid, expires };
  }

  /**
   * @param {string} url
   * @param {string|null} token
   * @param {object|undefined} body
   */
  async post(url, token, body) {
    /** @type {Record<string, string>} */
    const headers = {};
    if (token !== null) headers['Authorization'] = `Bearer ${token}`;
    if (body) headers['Content-Type'] = 'application/json';
    const abort = new AbortController();
    const asking = (async () => {
      const text = body ? { body: JSON.stringify(body) } : {};
      const answer = await this.fetch(url, {
        method: 'POST', headers, ...text, signal: abort.signal, credentials: 'omit', cache: 'no-store', redirect: 'error',
      });
      if (!answer.ok) throw await refusalOf(answer, this.clock);
      return answer.json();
    })();
    try {
      return await withDeadline(this.clock, asking, 'the server did not answer in time');
    } catch (error) {
      abort.abort();
      if (error instanceof Refusal) throw error;
      throw new Refusal('unreachable', error instanceof Error ? error.message : String(error));
    }
  }
}

/**
 * @param {Response} answer
 * @param {Clock} clock
 */
async function refusalOf(answer, clock) {
  const { status } = answer;
  const text = (await answer.text().catch(() => '')).trim();
  const { detail, title, retry_after_ms: ms } = problemOf(text);
  const said = String(detail ?? title ?? text).slice(0, 300);
  const header = retryAfter(answer.headers.get('retry-after'), clock.wall());
  const retryAfterMs = Math.max(header, Math.min(Number(ms) || 0, LIMITS.retryAfterMs));
  // Whom the settings keep out will not be let in by asking again.
  const final = status >= 400 && status < 500 && ![401, 408, 425, 429].includes(status);
  const code = status === 401 ? 'unauthorized' : status === 403 ? 'forbidden' : `http_${status}`;
  return new Refusal(code, said || `HTTP ${status}`, { final, retryAfterMs, status });
}

/**
 * A problem as the HTTP API tells one (RFC 9457); a proxy says something else.
 * @param {string} text
 * @returns {Record<string, unknown>}
 */
function problemOf(text) {
  try {
    return Object(JSON.parse(text));
  } catch {
    return {};
  }
}

/**
 * `Retry-After` in ms: seconds or a date (RFC 9110 §10.2.3).
 * @param {string|null} text
 * @param {number} wall
 */
export function retryAfter(text, wall) {
  if (!text) return 0;
  const ms = /^\d+$/.test(text.trim()) ? Number(text) * 1000 : Date.parse(text) - wall;
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), LIMITS.retryAfterMs) : 0;
}

/**
 * What a token says; nobody here checks it.
 * @param {string} token
 * @returns {{sub?: string, exp?: number, role?: string}}
 */
export function claims(token) {
  try {
    const part = token.split('.')[1].replace(/-/g, '+').replace(/_/g, '/');
    const bytes = Uint8Array.from(atob(part), (char) => char.charCodeAt(0));
    const said = JSON.parse(new TextDecoder().decode(bytes));
    return {
      ...(typeof said.sub === 'string' && { sub: said.sub }),
      ...(typeof said.role === 'string' && { role: said.role }),
      ...(typeof said.exp === 'number' && { exp: said.exp }),
    };
  } catch {
    return {};
  }
}

/** @param {string} token */
function expiry(token) {
  const { exp } = claims(token);
  return exp === undefined ? null : { at: exp * 1000 };
}

/**
 * @param {Record<string, string|undefined>} fields
 * @returns {Record<string, string>}
 */
function definedOnly(fields) {
  /** @type {Record<string, string>} */
  const defined = {};
  for (const [name, value] of Object.entries(fields)) if (value !== undefined) defined[name] = value;
  return defined;
}

/**
 * @template T
 * @param {Clock} clock
 * @param {Promise<T>} work
 * @param {string} late
 * @returns {Promise<T>}
 */
function withDeadline(clock, work, late) {
  return new Promise((resolve, reject) => {
    const timer = clock.setTimeout(() => reject(new Refusal('unreachable', late)), LIMITS.fetchMs);
    const done = () => clock.clearTimeout(timer);
    work.then(
      (value) => (done(), resolve(value)),
      (error) => (done(), reject(error)),
    );
  });
}
