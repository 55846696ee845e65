export interface StopSignalOptions {
  /** How long a stop may take after the first signal. */
  readonly limitMs: number;
  /** Called when the limit has passed. */
  readonly onLimit: (signalName: string) => void;
  /** Called at the second signal. */
  readonly onSecond: (signalName: string) => void;
}

/**
 * Turns SIGTERM and SIGINT into an abort. The first asks for an orderly stop and starts the clock, the second waits
 * for nothing. Dispose when the work is done, so that the clock does not keep the process.
 */
export class StopSignals implements Disposable {
  readonly #controller = new AbortController();
  readonly #options: StopSignalOptions;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: StopSignalOptions) {
    this.#options = options;
    process.on('SIGTERM', this.#onSignal);
    process.on('SIGINT', this.#onSignal);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    process.off('SIGTERM', this.#onSignal);
    process.off('SIGINT', this.#onSignal);
  }

  readonly #onSignal = (signalName: NodeJS.Signals): void => {
    if (this.signal.aborted) {
      this.#options.onSecond(signalName);
      return;
    }
    this.#timer = setTimeout(() => {
      this.#options.onLimit(signalName);
    }, this.#options.limitMs);
    this.#controller.abort(new Error(`stopped by ${signalName}`));
  };
}
