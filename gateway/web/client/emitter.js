// Events for whoever uses the client.

/** @typedef {(detail: any) => void} Listener */

export class Emitter {
  constructor() {
    /** @type {Map<string, Set<Listener>>} */
    this.listeners = new Map();
  }

  /**
   * Calls the listener at each such event. Returns what ends that.
   * @param {string} name
   * @param {Listener} listener
   * @returns {() => void}
   */
  on(name, listener) {
    const set = this.listeners.get(name) ?? new Set();
    this.listeners.set(name, set.add(listener));
    return () => void set.delete(listener);
  }

  /**
   * A listener that fails is the page's own error: it is reported, and changes nothing here.
   * @param {string} name
   * @param {unknown} detail
   */
  emit(name, detail) {
    for (const listener of [...(this.listeners.get(name) ?? [])]) {
      try {
        listener(detail);
      } catch (error) {
        console.error(`a listener of "${name}" failed`, error);
      }
    }
  }
}
