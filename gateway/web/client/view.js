// What is known of one conversation: an unbroken run of entries, each fitting the one before (`prev`), and what came
// before its turn. Only the run is shown, so what is shown has no hole, no double and no other order than the log's.
//
// What was only acknowledged is shown too, but no position: an ack does not say what came before. `anchor` is the last
// entry up to which everything was told; what lies beyond gives way to the answer of `resume`.

import { LIMITS } from './limits.js';

/** @typedef {import('./types.js').Entry} Entry */
/** @typedef {'taken'|'known'|'early'|'wrong'} Taken */

export class View {
  constructor() {
    /** @type {number|null} place of the first entry that is kept; `null` until it is known where the view begins */
    this.first = null;
    /**
     * The oldest place that the page was given since it drew all: it has that still when it is not kept here any more.
     * @type {number|null}
     */
    this.oldest = null;
    /** @type {Entry[]} */
    this.entries = [];
    /** @type {Map<number, Entry>} */
    this.ahead = new Map();
    /** @type {{seq: number, id: string}|null} */
    this.anchor = null;
    /** The last place that was shown. */
    this.shown = 0;
    /**
     * The position of the last `resume`.
     * @type {{seq: number, id: string}|null}
     */
    this.asked = null;
    /** Its answer is to come: until then everything is early. */
    this.awaiting = false;
    /**
     * What was beyond that position, by id.
     * @type {Map<string, Entry>}
     */
    this.stash = new Map();
  }

  /** The last place of the run. */
  get end() {
    return (this.first ?? 1) + this.entries.length - 1;
  }

  /** Whether something is known to be missing. */
  get hasGap() {
    return this.ahead.size > 0;
  }

  /** Nothing was ever said, or nothing before this: the view begins at the beginning. */
  begin() {
    if (this.first === null) this.first = this.oldest = 1;
  }

  /** @param {number} seq */
  at(seq) {
    return this.first === null ? null : this.entries[seq - this.first] ?? null;
  }

  /**
   * Takes an entry as it comes.
   * @param {Entry} entry
   * @returns {Taken}
   */
  take(entry) {
    if (this.first === null && entry.seq === 1) this.begin();
    if (this.first === null || this.awaiting || entry.seq > this.end + 1) return this.takeEarly(entry);
    if (entry.seq < this.first) return 'known';
    const known = this.at(entry.seq);
    if (known) return this.confirm(known, entry);
    const taken = this.append(entry);
    return taken === 'wrong' ? taken : this.drain() ? 'taken' : 'wrong';
  }

  /**
   * The same place again.
   * @param {Entry} known
   * @param {Entry} entry
   * @returns {Taken}
   */
  confirm(known, entry) {
    if (known.id !== entry.id) return 'wrong';
    known.message ??= entry.message;
    if (!entry.told || known.told) return 'known';
    const before = this.at(known.seq - 1);
    if (before && entry.prev !== null && entry.prev !== before.id) return 'wrong';
    Object.assign(known, { ...entry, message: known.message });
    this.advance(known);
    return 'known';
  }

  /**
   * @param {Entry} entry
   * @returns {Taken}
   */
  takeEarly(entry) {
    const other = this.ahead.get(entry.seq);
    if (other && other.id !== entry.id && !this.awaiting) return 'wrong';
    this.ahead.set(entry.seq, other && other.id === entry.id && other.told && !entry.told
      ? Object.assign(other, { message: other.message ?? entry.message })
      : { ...entry, message: entry.message ?? (other?.id === entry.id ? other.message : null) });
    // Beyond the bound the last ones give way: they are asked for with the gap.
    if (this.ahead.size > LIMITS.ahead) this.ahead.delete(Math.max(...this.ahead.keys()));
    return 'early';
  }

  /**
   * The next entry of the run.
   * @param {Entry} entry
   * @returns {Taken}
   */
  append(entry) {
    const before = this.entries[this.entries.length - 1];
    if (before && entry.prev !== null && entry.prev !== before.id) return 'wrong';
    this.entries.push(entry);
    this.advance(entry);
    if (this.entries.length > LIMITS.entries) {
      this.entries.splice(0, LIMITS.page);
      this.first = (this.first ?? 1) + LIMITS.page;
    }
    return 'taken';
  }

  /** @param {Entry} entry */
  advance(entry) {
    if (entry.told && entry.seq >= (this.anchor?.seq ?? 0)) this.anchor = { seq: entry.seq, id: entry.id };
  }

  /** Takes what was early and is next. Returns whether it fits. */
  drain() {
    for (const seq of this.ahead.keys()) if (seq <= this.end) this.ahead.delete(seq);
    for (;;) {
      const next = this.ahead.get(this.end + 1);
      if (!next) return true;
      this.ahead.delete(next.seq);
      if (this.append(next) === 'wrong') return false;
    }
  }

  /** The position that a `resume` names. */
  position() {
    this.asked = this.anchor;
    return this.anchor;
  }

  /** The `resume` is answered, with what comes after the position: what is beyond that gives way. */
  await() {
    this.awaiting = true;
    this.anchor = this.asked;
    const keep = this.asked === null ? 0 : this.asked.seq - (this.first ?? 1) + 1;
    const own = [...this.ahead.values()].filter((entry) => entry.message?.ref);
    const beyond = this.entries.splice(Math.max(keep, 0));
    // With what an answer that never came was to judge.
    this.stash = new Map([...this.stash.values(), ...own, ...beyond].map((entry) => [entry.id, entry]));
    this.ahead.clear();
    // One's own words may have pushed the position out of what is kept: the answer begins there all the same.
    if (this.first !== null) this.first = Math.min(this.first, (this.asked?.seq ?? 0) + 1);
  }

  /**
   * The answer, oldest first. Returns what was there and is not in the log, or `null` if the answer does not fit.
   * @param {Entry[]} entries
   * @param {boolean} more
   * @returns {Entry[]|null}
   */
  answer(entries, more) {
    this.awaiting = false;
    for (const entry of entries) {
      const known = this.stash.get(entry.id);
      if (known) entry.message ??= known.message;
      this.stash.delete(entry.id);
      if (entry.seq !== this.end + 1 || this.append(entry) === 'wrong') return null;
    }
    const lost = [];
    for (const entry of this.stash.values()) {
      if (entry.seq <= this.end || !more) lost.push(entry);
      else this.ahead.set(entry.seq, { ...entry, told: false });
    }
    this.stash.clear();
    return this.drain() ? lost : null;
  }

  /**
   * Begins anew with these, oldest first. Returns one's own messages that were there and are not any more. What came
   * since and follows them stays early.
   * @param {Entry[]} entries
   */
  reset(entries) {
    entries = unbroken(entries);
    const before = [...this.entries, ...this.stash.values()];
    const first = entries[0]?.seq ?? Infinity;
    this.first = this.oldest = entries[0]?.seq ?? null;
    this.entries = [];
    this.stash.clear();
    this.anchor = null;
    this.awaiting = false;
    const known = new Map([...this.ahead.values(), ...before].map((entry) => [entry.id, entry]));
    for (const entry of entries) {
      entry.message = known.get(entry.id)?.message ?? entry.message;
      known.delete(entry.id);
      this.append(entry);
    }
    for (const entry of [...this.ahead.values()]) {
      if (entries.length === 0 || entry.seq <= this.end) {
        this.ahead.delete(entry.seq);
      } else {
        entry.message ??= known.get(entry.id)?.message ?? null;
        known.delete(entry.id);
      }
    }
    this.shown = this.end;
    return [...known.values()].filter((entry) => entry.seq >= first && entry.message?.mine);
  }

  /**
   * The newest page was read: the view begins with it. Returns whether what was early fits.
   * @param {Entry[]} entries oldest first
   */
  load(entries) {
    if (this.first !== null) return true;
    entries = unbroken(entries);
    const early = this.ahead;
    this.first = this.oldest = entries[0]?.seq ?? 1;
    this.shown = this.first - 1;
    for (const entry of entries) {
      const known = early.get(entry.seq);
      if (known?.id === entry.id) entry.message ??= known.message;
      if (this.append(entry) === 'wrong') return false;
    }
    return this.drain();
  }

  /**
   * An older page goes before the run.
   * @param {Entry[]} entries oldest first
   */
  prepend(entries) {
    const fitting = unbroken(entries.filter((entry) => entry.seq < (this.first ?? 1)));
    if (this.first === null || fitting.length === 0 || this.entries.length > 2 * LIMITS.entries) return;
    if (fitting[fitting.length - 1].seq !== this.first - 1) return;
    this.entries.unshift(...fitting);
    this.first = fitting[0].seq;
  }

  /**
   * Shows what has not been shown, in order, up to the first that is to wait.
   * @param {(entry: Entry) => boolean} waits
   * @param {(entry: Entry) => void} show
   */
  show(waits, show) {
    if (this.first === null) return;
    this.shown = Math.max(this.shown, this.first - 1);
    for (let entry = this.at(this.shown + 1); entry && !waits(entry); entry = this.at(this.shown + 1)) {
      this.shown = entry.seq;
      show(entry);
    }
  }
}

/**
 * The end of a page up to which it has no hole: all of it, from a server that is one.
 * @param {Entry[]} entries oldest first
 */
function unbroken(entries) {
  let from = Math.max(entries.length - 1, 0);
  while (from > 0 && entries[from - 1].seq === entries[from].seq - 1) from -= 1;
  return entries.slice(from);
}
