// From one socket to the next: who lets us in, when to come back, when to stop, and a newer token in time.
//
//   connecting ──welcome──▶ entering ──resume answered──▶ live
//       ▲                                                  │ lost
//       └────── waiting (full jitter, Retry-After) ◀───────┤
//                                                          └─▶ refused (close codes, answers that forbid it), stopped

import { Backoff } from './backoff.js';
import { Alarm } from './clock.js';
import { GIVEN_UP, comesBack } from './codes.js';
import { Refusal } from './identity.js';
import { LIMITS } from './limits.js';
import { Link } from './link.js';

/** @typedef {import('./types.js').State} State */
/** @typedef {import('./identity.js').Entrance} Entrance */

/** What wakes a page, or its network. */
const WAKES = ['online', 'visibilitychange', 'pageshow', 'resume'];

export class Session {
  /**
   * @param {{urls: string[], clock: import('./types.js').Clock, identity: import('./identity.js').Identity, WebSocket: any,
   *   page: EventTarget|null, frame: (frame: {action: string, payload: any}) => void, isUser: (uid: string) => void,
   *   mayBe: (uid: string) => void, lost: () => void, changed: (change: import('./types.js').StateChange) => void, problem: (error: unknown) => void,
   *   refresh: (token: string) => Promise<any>, hidden: () => void, back: () => void}} parts
   */
  constructor(parts) {
    this.parts = parts;
    this.clock = parts.clock;
    this.bases = parts.urls.map(baseOf);
    /** Which of them; another one after each failure. */
    this.base = Math.floor(this.clock.random() * this.bases.length);
    /** @type {State} */
    this.state = 'idle';
    this.backoff = new Backoff(() => this.clock.random());
    /** The same for newer tokens. */
    this.renewing = new Backoff(() => this.clock.random());
    /** What the server asked for with `Retry-After` ends then. */
    this.notBefore = -Infinity;
    this.retry = new Alarm(this.clock, () => void this.attempt());
    this.late = new Alarm(this.clock, () => this.link?.drop());
    this.proven = new Alarm(this.clock, () => this.backoff.reset());
    this.renewal = new Alarm(this.clock, () => void this.renew());
    /** @type {Link|null} */
    this.link = null;
    /** Whatever was begun for an earlier one is over. */
    this.epoch = 0;
    /** @type {Entrance|null} */
    this.entrance = null;
    this.wake = this.wake.bind(this);
    this.hide = this.hide.bind(this);
  }

  start() {
    if (!['idle', 'stopped', 'refused'].includes(this.state)) return;
    for (const name of WAKES) this.parts.page?.addEventListener(name, this.wake);
    this.parts.page?.addEventListener('offline', this.wake);
    this.parts.page?.addEventListener('pagehide', this.hide);
    this.backoff.reset();
    void this.attempt();
  }

  /**
   * @param {State} state
   * @param {number} code what the socket is closed with
   * @param {number|string|null} why
   */
  stop(state, code, why = null) {
    for (const name of WAKES) this.parts.page?.removeEventListener(name, this.wake);
    this.parts.page?.removeEventListener('offline', this.wake);
    this.parts.page?.removeEventListener('pagehide', this.hide);
    this.retry.clear();
    this.entrance = null;
    if (this.end(code)) this.become(state, why);
  }

  /**
   * @param {State} state
   * @param {number|string|null} [code]
   * @param {number|null} [retryInMs]
   */
  become(state, code = null, retryInMs = null) {
    if (this.state === state && state !== 'waiting') return;
    this.state = state;
    this.parts.changed({ state, code, retryInMs });
  }

  async attempt() {
    const epoch = ++this.epoch;
    this.retry.clear();
    this.become('connecting');
    if (epoch !== this.epoch) return;
    try {
      const entrance = await this.parts.identity.enter(this.bases[this.base], (uid) => {
        if (epoch === this.epoch) this.parts.mayBe(uid);
      });
      if (epoch !== this.epoch) return;
      this.entrance = entrance;
      if (entrance.uid !== null) this.parts.isUser(entrance.uid);
      if (epoch === this.epoch) this.open(entrance, epoch);
    } catch (error) {
      if (epoch === this.epoch) this.failed(error);
    }
  }

  /**
   * @param {Entrance} entrance
   * @param {number} epoch
   */
  open({ query }, epoch) {
    const url = `${this.bases[this.base].replace(/^http/, 'ws')}/ws?${new URLSearchParams(query)}`;
    this.late.set(LIMITS.enterMs);
    this.link = new Link({
      WebSocket: this.parts.WebSocket,
      clock: this.clock,
      url,
      frame: (frame) => epoch === this.epoch && this.parts.frame(frame),
      closed: (code) => epoch === this.epoch && this.closed(code),
    });
  }

  /**
   * Nobody was let in, or is to stay.
   * @param {unknown} error
   * @param {number} code what a socket is closed with, if there is one
   */
  failed(error, code = 1000) {
    const refusal = error instanceof Refusal ? error : new Refusal('unreachable', String(error));
    const { epoch } = this;
    this.parts.problem({ code: refusal.code, message: refusal.message, field: null });
    if (epoch !== this.epoch) return;
    if (refusal.final) return this.stop('refused', code, refusal.code);
    this.comeBack(refusal.code, refusal.retryAfterMs);
  }

  /**
   * The socket has ended.
   * @param {number} code
   */
  closed(code) {
    if (code === 4501) this.parts.identity.forget();
    if (!this.end(null)) return;
    if (!comesBack(code)) return this.stop('refused', 1000, code);
    this.comeBack(code, 0);
  }

  /**
   * @param {number|string} code
   * @param {number} retryAfterMs
   */
  comeBack(code, retryAfterMs) {
    this.base = (this.base + 1) % this.bases.length;
    const pause = this.backoff.next(retryAfterMs);
    this.notBefore = this.clock.now() + Math.min(Math.max(retryAfterMs, 0), LIMITS.retryAfterMs);
    this.retry.set(pause);
    this.become('waiting', code, Math.round(pause));
  }

  /**
   * Takes the socket away. Returns whether nobody who heard of it has stopped or started the client meanwhile: what a
   * listener wants counts, here and wherever the epoch is looked at after something was told.
   * @param {number|null} code
   */
  end(code) {
    const epoch = ++this.epoch;
    for (const alarm of [this.late, this.proven, this.renewal]) alarm.clear();
    if (code !== null) this.link?.close(code);
    this.link = null;
    this.parts.lost();
    return epoch === this.epoch;
  }

  /** This socket is given up: come back by another one. */
  drop() {
    this.link?.drop();
  }

  /** @param {object} frame */
  send(frame) {
    this.link?.send(JSON.stringify(frame));
  }

  /**
   * The socket is registered.
   * @param {number} time the server's clock
   */
  welcomed(time) {
    this.renewing.reset();
    const expires = this.entrance?.expires ?? null;
    if (expires !== null) this.renewIn('inMs' in expires ? expires.inMs : expires.at - time);
  }

  /** Everything is known. */
  live() {
    this.late.clear();
    if (this.state !== 'live') this.proven.set(LIMITS.provenMs);
    this.become('live');
  }

  /**
   * The page, or its network, is back: look at once, but not before the server wants to be asked again.
   * @param {{type: string, persisted?: boolean}} event
   */
  wake(event) {
    if (event.type === 'pageshow' && event.persisted) this.parts.back();
    if (this.link) this.link.probe();
    else if (event.type !== 'offline' && this.retry.isSet) {
      this.retry.by(Math.max(this.notBefore - this.clock.now(), 0) + this.clock.random() * LIMITS.backoffMs);
    }
  }

  hide() {
    this.parts.hidden();
  }

  // --- tokens ---

  /**
   * A token has so long to live: a newer one goes out in time.
   * @param {number} leftMs
   */
  renewIn(leftMs) {
    if (Number.isFinite(leftMs)) this.renewal.set(Math.max(leftMs * (0.7 + 0.1 * this.clock.random()), 1000));
  }

  async renew() {
    const { epoch } = this;
    try {
      const entrance = await this.parts.identity.renew(this.bases[this.base]);
      if (epoch !== this.epoch || !entrance?.token) return;
      if (entrance.uid !== this.entrance?.uid) return this.isAnother(entrance);
      const { expires_in_s: left } = await this.parts.refresh(entrance.token);
      if (epoch !== this.epoch) return;
      this.renewing.reset();
      this.renewIn(Number(left) * 1000);
    } catch (error) {
      if (epoch === this.epoch) this.notRenewed(error);
    }
  }

  /**
   * The page is somebody else's now: nothing more goes out on this socket, which is still the one's before.
   * @param {Entrance} entrance
   */
  isAnother(entrance) {
    if (!this.end(GIVEN_UP)) return;
    const { epoch } = this;
    this.entrance = entrance;
    if (entrance.uid !== null) this.parts.isUser(entrance.uid);
    if (epoch === this.epoch) this.comeBack('identity_changed', 0);
  }

  /**
   * Without a newer token the socket closes with 4401, and coming back asks again.
   * @param {any} error
   */
  notRenewed(error) {
    // Who is signed out leaves; whom the settings keep out may have their place back if the page starts again.
    if (error instanceof Refusal && error.final) return this.failed(error, error.code === 'signed_out' ? 1000 : GIVEN_UP);
    if (error?.code === 'bad_token') this.parts.identity.refused = true;
    const retryAfterMs = error instanceof Refusal ? error.retryAfterMs : 0;
    this.renewal.set(this.renewing.next(Math.max(retryAfterMs, LIMITS.renewAgainMs)));
    this.parts.problem({ code: 'refresh_failed', message: String(error?.message ?? error), field: null });
  }
}

/**
 * `https://host[/path]` of any way to write it.
 * @param {string} url
 */
export function baseOf(url) {
  const { protocol, host, pathname } = new URL(url);
  const scheme = protocol.replace(/^ws/, 'http');
  if (scheme !== 'http:' && scheme !== 'https:') throw new TypeError(`${url} is not where a gateway is`);
  return `${scheme}//${host}${pathname.replace(/\/(ws)?$/, '')}`;
}
