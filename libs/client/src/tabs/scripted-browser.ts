/** For specs: Web Locks and BroadcastChannel of one browser, whose tabs a spec opens and closes. */

interface Asked {
  readonly use: () => unknown;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** Locks that one has at a time, in the order of asking. */
export class ScriptedLocks {
  readonly #held = new Map<string, Asked>();
  readonly #waiting = new Map<string, Asked[]>();

  request(
    name: string,
    { signal, steal }: { readonly signal?: AbortSignal; readonly steal?: boolean },
    use: () => unknown,
  ): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const asked: Asked = { use, resolve, reject };
      if (steal === true) {
        this.#held.get(name)?.reject(new DOMException('stolen', 'AbortError'));
        return this.#grant(name, asked);
      }
      const waiting = this.#waiting.get(name) ?? [];
      this.#waiting.set(name, [...waiting, asked]);
      signal?.addEventListener('abort', () => {
        const rest = this.#waiting.get(name) ?? [];
        if (!rest.includes(asked)) return;
        this.#waiting.set(
          name,
          rest.filter((one) => one !== asked),
        );
        reject(signal.reason as Error);
      });
      this.#next(name);
    });
  }

  async query(): Promise<{ readonly held: ReadonlyArray<{ readonly name: string }> }> {
    return { held: Array.from(this.#held.keys(), (name) => ({ name })) };
  }

  #next(name: string): void {
    const [first, ...rest] = this.#waiting.get(name) ?? [];
    if (first === undefined || this.#held.has(name)) return;
    this.#waiting.set(name, rest);
    this.#grant(name, first);
  }

  #grant(name: string, asked: Asked): void {
    this.#held.set(name, asked);
    const release = (): void => {
      if (this.#held.get(name) !== asked) return;
      this.#held.delete(name);
      this.#next(name);
    };
    Promise.resolve()
      .then(asked.use)
      .then(asked.resolve, asked.reject)
      .finally(release)
      .catch(() => undefined);
  }
}

/** Delivers to all others of its name, in order, a copy to each. */
export class ScriptedChannel {
  /** Those that are open, in the order in which they were. */
  static readonly #open = new Set<ScriptedChannel>();
  #hear: (message: { readonly data: unknown }) => void = () => undefined;
  /** What came while its tab slept; undefined: it is awake. */
  #missed: unknown[] | undefined;

  constructor(readonly name: string) {
    ScriptedChannel.#open.add(this);
  }

  static get all(): readonly ScriptedChannel[] {
    return [...ScriptedChannel.#open];
  }

  /** It says nothing, and hears nothing before it is woken. */
  sleep(): void {
    this.#missed = [];
  }

  wake(): void {
    const missed = this.#missed ?? [];
    this.#missed = undefined;
    for (const data of missed) this.#hear({ data });
  }

  addEventListener(_name: 'message', hear: (message: { readonly data: unknown }) => void): void {
    this.#hear = hear;
  }

  postMessage(message: unknown): void {
    const data: unknown = structuredClone(message);
    if (this.#missed !== undefined) return;
    for (const other of ScriptedChannel.#open) {
      if (other === this || other.name !== this.name) continue;
      queueMicrotask(() => {
        if (!ScriptedChannel.#open.has(other)) return;
        if (other.#missed === undefined) other.#hear({ data });
        else other.#missed.push(data);
      });
    }
  }

  close(): void {
    ScriptedChannel.#open.delete(this);
  }
}

/** Makes them the browser's. @returns takes them away */
export function openBrowser(): () => void {
  const names = ['navigator', 'BroadcastChannel'] as const;
  const before = names.map((name) => Object.getOwnPropertyDescriptor(globalThis, name));
  Object.defineProperty(globalThis, 'navigator', { configurable: true, value: { locks: new ScriptedLocks() } });
  Object.defineProperty(globalThis, 'BroadcastChannel', { configurable: true, value: ScriptedChannel });
  return () => {
    for (const [index, name] of names.entries()) {
      const descriptor = before[index];
      if (descriptor === undefined) Reflect.deleteProperty(globalThis, name);
      else Object.defineProperty(globalThis, name, descriptor);
    }
  };
}
