/** The machine's clock as this process sees it, so many milliseconds off. Timers and `performance.now` go on as they do. */
export class ShiftedClock implements Disposable {
  offsetMs = 0;
  readonly #real = globalThis.Date;

  constructor() {
    const real = this.#real;
    const now = (): number => real.now() + this.offsetMs;
    globalThis.Date = new Proxy(real, {
      construct: (target, given: unknown[], newTarget) =>
        Reflect.construct(target, given.length === 0 ? [now()] : given, newTarget) as Date,
      get: (target, name) => (name === 'now' ? now : (Reflect.get(target, name) as unknown)),
    });
  }

  [Symbol.dispose](): void {
    globalThis.Date = this.#real;
  }
}
