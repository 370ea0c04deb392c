/** The page's handle to an engine, which runs in its own worker. */

export const ENGINES = { litert: "LiteRT.js", mediapipe: "MediaPipe Tasks" };

export class Engine {
  /**
   * @param {string} name a key of `ENGINES`.
   * @param {object} site the content of `site.json`.
   */
  constructor(name, site) {
    this.#worker = new Worker(new URL(`./worker.js?engine=${name}`, import.meta.url));
    this.#worker.onmessage = ({ data }) => this.#settle(data);
    this.#worker.onerror = (event) => this.#fail(event.message || "its worker could not be loaded");
    /** @type {Promise<{backend: string, threads: number}>} */
    this.ready = this.#ask("open", { described: site });
  }

  /** See `classify` in worker.js. */
  classify({ blob, fitted = false }, variant) {
    return this.#ask("classify", { blob, fitted, variant });
  }

  #worker;
  #waiting = new Map();
  #count = 0;

  #ask(ask, rest) {
    return new Promise((resolve, reject) => {
      const id = this.#count++;
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ id, ask, ...rest });
    });
  }

  #settle({ id, answer, error }) {
    const { resolve, reject } = this.#waiting.get(id);
    this.#waiting.delete(id);
    error === undefined ? resolve(answer) : reject(new Error(error));
  }

  #fail(message) {
    for (const { reject } of this.#waiting.values()) {
      reject(new Error(message));
    }
    this.#waiting.clear();
  }
}
