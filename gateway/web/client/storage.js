// What outlives a page, where the page may keep anything. A storage that is full, forbidden or absent is no reason to
// stop: from then on everything is in memory, and the user of the client is told once.

/** @typedef {import('./types.js').Store} Store */

/** @implements {Store} */
export class Memory {
  constructor() {
    /** @type {Map<string, string>} */
    this.map = new Map();
  }

  get length() {
    return this.map.size;
  }

  /** @param {number} index */
  key(index) {
    return [...this.map.keys()][index] ?? null;
  }

  /** @param {string} name */
  getItem(name) {
    return this.map.get(name) ?? null;
  }

  /**
   * @param {string} name
   * @param {string} value
   */
  setItem(name, value) {
    this.map.set(name, value);
  }

  /** @param {string} name */
  removeItem(name) {
    this.map.delete(name);
  }
}

/** Reads and writes JSON; never throws. */
export class Kept {
  /**
   * @param {() => Store|null|undefined} open may throw, as `localStorage` does where it is forbidden
   * @param {(error: unknown) => void} failed
   */
  constructor(open, failed) {
    this.failed = failed;
    this.broken = false;
    /** @type {Store} What is written when the real one fails. */
    this.memory = new Memory();
    /** @type {Store} */
    this.store = this.memory;
    try {
      this.store = open() ?? this.memory;
    } catch (error) {
      this.break(error);
    }
  }

  /** Whether what is kept is this page's alone, and gone with it. */
  get isMemory() {
    return this.broken || this.store === this.memory;
  }

  /** @param {unknown} error */
  break(error) {
    if (!this.broken) this.failed(error);
    this.broken = true;
  }

  /**
   * @template T
   * @param {() => T} work
   * @param {T} otherwise
   */
  attempt(work, otherwise) {
    try {
      return work();
    } catch (error) {
      this.break(error);
      return otherwise;
    }
  }

  /**
   * @param {string} name
   * @returns {any} what was kept, or `null`
   */
  get(name) {
    const text = this.memory.getItem(name) ?? this.attempt(() => this.store.getItem(name), null);
    try {
      return text === null ? null : JSON.parse(text);
    } catch {
      return null; // not ours, or cut off
    }
  }

  /**
   * @param {string} name
   * @param {unknown} value
   */
  set(name, value) {
    const text = JSON.stringify(value);
    this.memory.removeItem(name);
    const done = this.attempt(() => (this.store.setItem(name, text), true), false);
    if (done) return;
    // What is there is old: rather nothing than that.
    this.attempt(() => this.store.removeItem(name), undefined);
    this.memory.setItem(name, text);
  }

  /** @param {string} name */
  remove(name) {
    this.memory.removeItem(name);
    this.attempt(() => this.store.removeItem(name), undefined);
  }

  /**
   * All names that begin so.
   * @param {string} prefix
   */
  names(prefix) {
    return this.attempt(() => {
      /** @type {string[]} */
      const names = [];
      for (let index = 0; index < this.store.length; index += 1) {
        const name = this.store.key(index);
        if (name?.startsWith(prefix)) names.push(name);
      }
      return names;
    }, []);
  }
}
