export interface StopSignalOptions {
  /** How long a stop may take after the first signal. */
  readonly limitMs: number;
  /** Called when the limit has passed. */
  readonly onLimit: (signalName: string) => void;
  /** Called at the second signal. */
  readonly onSecond: (signalName: string) => void;
}

/** Signals that come so close together are of one wish to stop. */
const SAME_STOP_MS = 500;

/**
 * Turns SIGTERM and SIGINT, and the end of the terminal that it runs at, into an abort. The first asks for an orderly stop
 * and starts the clock, the second waits for nothing. One that comes with the first is the same once more: a terminal and
 * npm both pass Ctrl-C on, systemd may send SIGHUP behind SIGTERM. Dispose when the work is done, so that the clock does
 * not keep the process.
 */
export class StopSignals implements Disposable {
  readonly #controller = new AbortController();
  readonly #options: StopSignalOptions;
  readonly #names: readonly NodeJS.Signals[];
  #timer: NodeJS.Timeout | undefined;
  #firstAtMs = 0;

  constructor(options: StopSignalOptions) {
    this.#options = options;
    this.#names = isAtTerminal() ? ['SIGTERM', 'SIGINT', 'SIGHUP'] : ['SIGTERM', 'SIGINT'];
    for (const name of this.#names) process.on(name, this.#onSignal);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    for (const name of this.#names) process.off(name, this.#onSignal);
  }

  readonly #onSignal = (signalName: NodeJS.Signals): void => {
    if (this.signal.aborted) {
      const isSame = signalName === 'SIGHUP' || performance.now() - this.#firstAtMs < SAME_STOP_MS;
      if (!isSame) this.#options.onSecond(signalName);
      return;
    }
    this.#firstAtMs = performance.now();
    this.#timer = setTimeout(() => {
      this.#options.onLimit(signalName);
    }, this.#options.limitMs);
    this.#controller.abort(new Error(`stopped by ${signalName}`));
  };
}

/**
 * For a process that is to outlive them: tells of signals that would else end it, or open Node's debugger. SIGHUP is what
 * `nohup` and log rotation mean nothing by, unless the process runs at the terminal that is closed.
 */
export function tellStraySignals(tell: (signalName: NodeJS.Signals) => void): void {
  for (const name of ['SIGUSR1', 'SIGUSR2', ...(isAtTerminal() ? [] : ['SIGHUP' as const])] as const)
    process.on(name, tell);
}

function isAtTerminal(): boolean {
  return process.stdout.isTTY;
}
