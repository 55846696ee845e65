import type { RunningServer } from './running-server.ts';
import { breaksAfterMs, stepFault, type FaultKind, type FaultPhase, type Seen } from './fault-script.ts';
import type { Screen } from './screen.ts';

/** What is broken, by its name, and what a reader of the screen is to expect. */
export interface Breakable {
  readonly name: string;
  readonly server: RunningServer;
  readonly expect: string;
}

export interface DemoFaultOptions {
  readonly kind: FaultKind;
  /** Asked when it is time: what is to break depends on who leads then. */
  readonly choose: () => Promise<Breakable>;
  readonly rate: number;
  readonly startMs: number;
  readonly exitAfterMs: number | null;
  readonly screen: Screen;
}

/** A fault while the load runs: something is killed, and brought back where nothing else takes its place. */
export class DemoFault {
  readonly #options: DemoFaultOptions;
  #phase: FaultPhase;
  #broken: Breakable | null = null;
  #working: Promise<void> | null = null;
  #failure: Error | null = null;
  /** Whether anything was, by now. */
  #broke = false;
  /** How much was written when, over the last second or two. */
  #trail: { readonly atMs: number; readonly written: number }[] = [];

  constructor(options: DemoFaultOptions) {
    this.#options = options;
    this.#phase = { kind: 'ahead', atMs: options.startMs + breaksAfterMs(options.exitAfterMs) };
  }

  /** Whether this one has ended because of the fault. */
  isBroken(server: RunningServer): boolean {
    return this.#broken?.server === server;
  }

  /** Looks at the load, and goes on with the script. @throws what keeps a part from being killed or started again */
  look(nowMs: number, counts: { readonly written: number; readonly shipped: number }): void {
    if (this.#failure) throw this.#failure;
    if (this.#working) return;
    const seen: Seen = { nowMs, ...counts, writtenPerSecond: this.#rateOf(nowMs, counts.written) };
    const { phase, effect } = stepFault(this.#phase, seen, this.#options);
    this.#phase = phase;
    if (effect === 'break') this.#begin(this.#break());
    else if (effect === 'mend') this.#begin(this.#mend());
    else if (effect === 'tell-recovered' && phase.kind === 'over')
      this.#tell(`recovered: what was written is shipped again, ${(phase.tookMs / 1000).toFixed(0)} s after`);
  }

  /** At the end of the load: what is away and has to be there for the rest to be shipped is brought back. */
  async finish(): Promise<void> {
    await this.#working;
    if (this.#phase.kind === 'ahead') this.#tell('the load has ended before anything was broken');
    if (this.#phase.kind === 'broken' && this.#phase.mendsAtMs !== null) await this.#mend();
    if (this.#failure) throw this.#failure;
  }

  /** At the very end. @param isComplete whether all has arrived */
  conclude(isComplete: boolean): void {
    if (isComplete && this.#broke && this.#phase.kind !== 'over')
      this.#tell('recovered: all that was written is shipped, the last of it behind the end of the load');
  }

  #begin(work: Promise<void>): void {
    this.#working = work
      .catch((error: unknown) => {
        this.#failure = error instanceof Error ? error : new Error(String(error));
      })
      .finally(() => {
        this.#working = null;
      });
  }

  async #break(): Promise<void> {
    this.#broken = await this.#options.choose();
    const { name, server, expect } = this.#broken;
    this.#tell(`${name} is killed: ${expect}`);
    await server.kill();
    this.#broke = true;
  }

  async #mend(): Promise<void> {
    const { name, server } = this.#broken!;
    this.#broken = null;
    this.#tell(`${name} is started again`);
    await server.restart();
  }

  #tell(text: string): void {
    this.#options.screen.line(`fault      ${text}`);
  }

  #rateOf(nowMs: number, written: number): number {
    this.#trail.push({ atMs: nowMs, written });
    while (this.#trail.length > 2 && this.#trail[1]!.atMs < nowMs - 1_500) this.#trail.shift();
    const first = this.#trail[0]!;
    return nowMs > first.atMs ? ((written - first.written) * 1000) / (nowMs - first.atMs) : 0;
  }
}
