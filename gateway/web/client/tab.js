// What one tab keeps: the messages that are not acknowledged, so that a reload, a crash or a closed tab loses none, and
// its resume token.
//
//   localStorage    frontdesk:<site>:<uid>:tab:<tab>  {owner, until, items}   survives the tab
//   sessionStorage  frontdesk:<site>:<uid>:tab        <tab>                   one per tab, survives a reload
//   sessionStorage  frontdesk:<site>:<uid>:resume     {tab, token}            belongs to that tab's connection
//
// Without a localStorage there are no leases, so the sessionStorage is not used either: a copy could not know that it is one.
//
// A tab has its record under a lease. A page that finds its tab's record leased by somebody else is a copy ("duplicate
// tab" copies the sessionStorage) or a second client on the page: it becomes another tab, without the token, which would
// throw the other one out (4502). What a tab has left whose lease ran out is taken over by any other; who finds its own
// record taken stops sending what was in it. Chance and the second look make it rare that two take the same; should they,
// the ids are the same, and the server stores each once.

import { Alarm } from './clock.js';
import { LIMITS } from './limits.js';

/** @typedef {import('./types.js').Clock} Clock */
/** @typedef {import('./storage.js').Kept} Kept */
/** @typedef {{ref: string, text: string, conversation: string|null, to: string|null, at: number, sent: boolean}} Item */
/** @typedef {{owner: string, until: number, items: Item[]}} TabRecord */

export class Tab {
  /**
   * @param {{local: Kept, session: Kept, clock: Clock, site: string, newId: () => string,
   *   adopt: (items: Item[]) => void, moved: (refs: Set<string>) => void,
   *   isLive: () => boolean}} parts `adopt` takes what another tab has left, `moved` learns
   *   which of ours another tab has taken; who is not live takes nothing, since it could not send it
   */
  constructor({ local, session, clock, site, newId, adopt, moved, isLive }) {
    this.local = local;
    this.session = session;
    this.clock = clock;
    this.site = `frontdesk:${site}:`;
    this.newId = newId;
    this.adopt = adopt;
    this.moved = moved;
    this.isLive = isLive;
    this.owner = newId();
    /** @type {string|null} what all names of this user begin with; `null` until it is known who they are */
    this.scope = null;
    this.id = '';
    /** @type {string|null} this tab's; in the sessionStorage a second client on the page may have put its own */
    this.resume = null;
    /** @type {Item[]} */
    this.items = [];
    /**
     * What was last written into our record: who takes it has these.
     * @type {Set<string>}
     */
    this.written = new Set();
    this.renewal = new Alarm(clock, () => this.tick());
    this.claim = new Alarm(clock, () => this.takeClaimed());
    /** @type {string[]} */
    this.claimed = [];
  }

  get name() {
    return `${this.scope}tab:${this.id}`;
  }

  /**
   * It is known who this is. Returns what this tab has left from before.
   * @param {string} uid
   */
  open(uid) {
    const scope = `${this.site}${uid}:`;
    if (this.scope === scope) return [];
    this.close();
    this.scope = scope;
    this.id = this.kept('tab') ?? this.newId();
    let record = this.read(this.name);
    if (record && record.owner !== this.owner && this.isLeased(record)) {
      this.id = this.newId();
      record = null;
    }
    const kept = this.kept('resume');
    this.resume = kept?.tab === this.id && typeof kept.token === 'string' ? kept.token : null;
    this.keep('tab', this.id);
    this.items = record?.items ?? [];
    this.write();
    this.renewal.set(this.clock.random() * 1000);
    return this.items;
  }

  /**
   * @param {string} name
   * @returns {TabRecord|null}
   */
  read(name) {
    const record = this.local.get(name);
    if (typeof record !== 'object' || record === null || !Array.isArray(record.items)) return null;
    const items = record.items.slice(0, LIMITS.outbox).filter(isItem);
    return { owner: String(record.owner), until: Number(record.until) || 0, items };
  }

  /** @param {TabRecord} record A lease that ends too late was taken before the clock was set back. */
  isLeased(record) {
    const left = record.until - this.clock.wall();
    return left > 0 && left <= 2 * LIMITS.leaseMs;
  }

  write(until = this.clock.wall() + LIMITS.leaseMs) {
    if (this.scope === null) return;
    this.local.set(this.name, { owner: this.owner, until, items: this.items });
    this.written = new Set(this.items.map(({ ref }) => ref));
  }

  /** Whether the record is still this tab's. Looked at before anything is sent from it. */
  isOurs() {
    if (this.scope === null || this.local.broken) return true;
    const record = this.local.get(this.name);
    // Who cleared the storage did not send anything.
    return record === null || record.owner === this.owner;
  }

  /** @param {Item[]} items */
  save(items) {
    this.items = items;
    if (this.isOurs()) this.write();
  }

  get token() {
    return this.scope === null ? null : this.resume;
  }

  set token(token) {
    if (this.scope === null) return;
    this.resume = token;
    this.keep('resume', token === null ? null : { tab: this.id, token });
  }

  /**
   * What the sessionStorage has of this user.
   * @param {'tab'|'resume'} name
   */
  kept(name) {
    return this.local.isMemory ? null : this.session.get(`${this.scope}${name}`);
  }

  /**
   * @param {'tab'|'resume'} name
   * @param {unknown} value
   */
  keep(name, value) {
    if (value === null || this.local.isMemory) this.session.remove(`${this.scope}${name}`);
    else this.session.set(`${this.scope}${name}`, value);
  }

  tick() {
    this.renewal.set(LIMITS.leaseTickMs);
    if (this.scope === null) return;
    if (!this.isOurs()) return this.lose();
    this.write();
    if (!this.claim.isSet && this.isLive()) this.claimAbandoned();
  }

  /** What others have left can be sent now. */
  live() {
    this.renewal.by(this.clock.random() * 1000);
  }

  /** Another tab has taken what was here: it sends it now. What was said since is still ours. */
  lose() {
    const taken = this.written;
    this.id = this.newId();
    this.keep('tab', this.id);
    this.token = this.resume;
    this.items = this.items.filter(({ ref }) => !taken.has(ref));
    this.write();
    this.moved(taken);
  }

  /** Puts our name on what tabs have left whose lease ran out; a moment later it is ours if it still says so. */
  claimAbandoned() {
    for (const name of this.local.names(`${this.scope}tab:`)) {
      const record = this.read(name);
      if (name === this.name || (record && this.isLeased(record))) continue;
      if (!record || record.items.length === 0) {
        // A tab that slept finds by it that what it had was taken.
        if (!record || record.until < this.clock.wall() - LIMITS.outboxMs) this.local.remove(name);
        continue;
      }
      const until = this.clock.wall() + LIMITS.leaseMs;
      this.local.set(name, { owner: this.owner, until, items: record.items });
      this.claimed.push(name);
    }
    if (this.claimed.length > 0) this.claim.set(100 + this.clock.random() * 400);
  }

  takeClaimed() {
    if (!this.isLive()) return this.unclaim();
    for (const name of this.claimed.splice(0)) {
      const record = this.read(name);
      if (record?.owner !== this.owner || !this.isOfUser(name)) continue;
      this.local.set(name, { ...record, items: [] });
      this.adopt(record.items);
    }
  }

  /** The page goes, or is refused for good: a reload may take the record at once, and so may another tab. */
  release() {
    this.renewal.clear();
    if (this.scope === null || !this.isOurs()) return;
    if (this.items.length === 0) this.local.remove(this.name);
    else this.write(this.clock.wall());
  }

  /** The page is back from where the browser had put it. */
  renew() {
    if (this.scope !== null) this.tick();
  }

  close() {
    this.release();
    this.unclaim();
    this.scope = null;
    this.items = [];
  }

  /** What we put our name on and have not taken is anybody's again: the next user's tab must not take it. */
  unclaim() {
    this.claim.clear();
    for (const name of this.claimed.splice(0)) {
      const record = this.read(name);
      if (record?.owner === this.owner) this.local.set(name, { ...record, until: this.clock.wall() });
    }
  }

  /** @param {string} name */
  isOfUser(name) {
    return this.scope !== null && name.startsWith(`${this.scope}tab:`);
  }

  /**
   * Removes what is kept of a user, also what closed and crashed tabs have left.
   * @param {string|null} uid
   */
  wipe(uid) {
    this.close();
    if (uid === null) return;
    const scope = `${this.site}${uid}:`;
    for (const name of this.local.names(`${scope}tab:`)) this.local.remove(name);
    for (const name of [`${scope}tab`, `${scope}resume`]) this.session.remove(name);
  }
}

/** @param {any} item */
function isItem(item) {
  const text = (/** @type {unknown} */ value) => typeof value === 'string' || value === null;
  return typeof item?.ref === 'string' && typeof item.text === 'string' && typeof item.at === 'number'
    && text(item.conversation) && text(item.to);
}
