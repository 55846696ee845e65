import type { OfParts, SinkKind } from '../api/parts.ts';
import type { PartHealth } from '../api/shapes.ts';
import type { Sink } from '../sinks/sink.ts';

/** Of what kind a sink is, and how it is asked whether it can be reached. */
export interface AskedSink {
  readonly kind: SinkKind;
  readonly sink: Pick<Sink, 'check'>;
}

/** Readiness is asked often; the sinks are not. */
const EVERY_MS = 5000;
/** Longer than a connection may take, so that it is told which one it is. */
const TIMEOUT_MS = 5000;

/** Whether the sinks of each kind can be reached, as it was found out lately. */
export class SinkHealth {
  readonly #sinks: () => readonly AskedSink[];
  #last: { readonly health: Omit<OfParts<PartHealth>, 'kudu' | 'wal'>; readonly atMs: number } | null = null;

  constructor(sinks: () => readonly AskedSink[]) {
    this.#sinks = sinks;
  }

  /** Of a kind whose sinks are several the first that cannot be reached says why. */
  async look(): Promise<Omit<OfParts<PartHealth>, 'kudu' | 'wal'>> {
    if (this.#last && performance.now() - this.#last.atMs < EVERY_MS) return this.#last.health;
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const health: { kafka: PartHealth } & Partial<Record<SinkKind, PartHealth>> = { kafka: { ok: true } };
    const checks = this.#sinks().map(async ({ kind, sink }) => ({ kind, found: await healthOf(sink.check(signal)) }));
    for (const { kind, found } of await Promise.all(checks)) if (health[kind]?.ok ?? true) health[kind] = found;
    this.#last = { health, atMs: performance.now() };
    return health;
  }
}

export async function healthOf(check: Promise<void>): Promise<PartHealth> {
  try {
    await check;
    return { ok: true };
  } catch (error) {
    return { ok: false, reason: error instanceof Error ? error.message : String(error) };
  }
}
