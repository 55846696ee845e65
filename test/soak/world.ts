import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '../support/random.ts';
import type { ReplicaWatch } from '../support/replica-watch.ts';
import type { SpoorCluster } from '../support/spoor-cluster.ts';

const POLL_MS = 200;
/** A tablet has three replicas on four servers: with two of them out of order one replica is still read and held. */
const MAX_IMPAIRED = 2;
const READY_TIMEOUT_MS = 60_000;
/** Until the last replica has applied an ALTER, also where both cores are full. */
const ALTERS_REACH_ALL_MS = 10_000;
/** A sidecar that is ready takes a tick to find its tablets. */
const TICKS_MS = 2_500;

/** What the chaos is made to, with what was done to it so far. */
export class World {
  readonly cluster: SpoorCluster;
  readonly watch: ReplicaWatch;
  readonly table: string;
  readonly tabletIds: readonly string[];
  readonly streams: readonly string[];
  readonly trace: string[] = [];
  columnsAdded = 0;
  #deadlineMs: number;
  /** Servers that are being started again. */
  readonly #restarting = new Set<number>();
  readonly #startedMs = performance.now();
  readonly #impaired = new Set<number>();
  readonly #counts = new Map<string, number>();

  constructor(
    cluster: SpoorCluster,
    watch: ReplicaWatch,
    of: {
      readonly table: string;
      readonly tabletIds: readonly string[];
      readonly streams: readonly string[];
      readonly seconds: number;
    },
  ) {
    this.cluster = cluster;
    this.watch = watch;
    this.table = of.table;
    this.tabletIds = of.tabletIds;
    this.streams = of.streams;
    this.#deadlineMs = this.#startedMs + of.seconds * 1000;
  }

  get isOver(): boolean {
    return performance.now() >= this.#deadlineMs;
  }

  /** The chaos has failed: there is nothing to wait for. */
  giveUp(): void {
    this.#deadlineMs = performance.now();
  }

  /** How often each fault was made. */
  get counts(): ReadonlyMap<string, number> {
    return this.#counts;
  }

  note(text: string): void {
    this.trace.push(`${((performance.now() - this.#startedMs) / 1000).toFixed(1).padStart(7)} s  ${text}`);
  }

  count(fault: string): void {
    this.#counts.set(fault, (this.#counts.get(fault) ?? 0) + 1);
  }

  /** Sleeps for a while, and no longer than the chaos lasts. */
  async pause(ms: number): Promise<void> {
    await sleep(Math.max(0, Math.min(ms, this.#deadlineMs - performance.now())));
  }

  /**
   * Does something to these servers or their sidecars, when so few others are out of order that every tablet has a
   * replica which is not: else its log could be lost for good, and rightly so. Nothing once the chaos is over.
   */
  async impair(numbers: readonly number[], work: () => Promise<void>, most = MAX_IMPAIRED): Promise<void> {
    while (numbers.some((one) => this.#impaired.has(one)) || this.#impaired.size + numbers.length > most) {
      if (this.isOver) return;
      await sleep(POLL_MS);
    }
    for (const one of numbers) this.#impaired.add(one);
    try {
      await work();
    } finally {
      for (const one of numbers) this.#impaired.delete(one);
    }
  }

  /** Does something while all servers and sidecars run, and for a while after. */
  async whileNothingIsImpaired(work: () => Promise<void>): Promise<void> {
    const all = [...this.cluster.kudu.tservers.keys()];
    const andAWhile = async (): Promise<void> => {
      await work();
      await this.pause(ALTERS_REACH_ALL_MS);
    };
    await this.impair(all, andAWhile, all.length);
  }

  /** Starts a sidecar that is down, and waits until it holds again. Kafka may be away. */
  async startSidecar(number: number): Promise<void> {
    const sidecar = this.cluster.sidecars[number]!;
    if (!sidecar.running) await sidecar.restart();
    await this.#untilHolding(number);
    this.note(`sidecar ${number} is back`);
  }

  thawSidecar(number: number): void {
    const sidecar = this.cluster.sidecars[number]!;
    if (sidecar.running) sidecar.thaw();
    this.cluster.frozen.delete(sidecar.url);
  }

  async startServer(number: number): Promise<void> {
    const server = this.cluster.kudu.tservers[number]!;
    if (!server.running) await server.restart();
    this.note(`server ${number} is back`);
    await this.whole();
  }

  /** Resolves when every tablet has a leader and three replicas. */
  async whole(): Promise<void> {
    const supervised = setInterval(() => {
      this.#restartCrashed();
    }, 1_000);
    try {
      await this.watch.waitUntilWhole(this.tabletIds, 3, READY_TIMEOUT_MS);
    } finally {
      clearInterval(supervised);
    }
  }

  /**
   * As a supervisor would. Kudu 1.18 ends itself ("Cannot cancel ops that have already replicated: Client provided column …
   * not present in tablet") when a replica that has just started prepares a write of a column that an ALTER behind which it
   * stands has added.
   */
  #restartCrashed(): void {
    for (const [number, server] of this.cluster.kudu.tservers.entries()) {
      if (server.running || this.#restarting.has(number)) continue;
      this.#restarting.add(number);
      this.note(`server ${number} has ended itself: started again`);
      this.count('server ended itself');
      server
        .restart()
        .catch((error: unknown) => {
          this.note(`server ${number} does not start: ${String(error)}`);
        })
        .finally(() => this.#restarting.delete(number));
    }
  }

  /** A tablet, its leader and its other replicas. */
  async pickTablet(
    random: Random,
  ): Promise<{ readonly tabletId: string; readonly leader: number; readonly others: readonly number[] } | null> {
    const tabletId = random.pick(this.tabletIds);
    const [leaders, replicas] = [await this.watch.leaders(), await this.watch.replicas()];
    const leader = leaders.get(tabletId);
    if (leader === undefined) return null;
    return { tabletId, leader, others: (replicas.get(tabletId) ?? []).filter((number) => number !== leader) };
  }

  async #untilHolding(number: number): Promise<void> {
    const { url } = this.cluster.sidecars[number]!;
    const deadline = performance.now() + READY_TIMEOUT_MS;
    while (performance.now() < deadline) {
      const response = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(5000) }).catch(() => null);
      const health = response && ((await response.json()) as Record<'kudu' | 'wal', { ok: boolean }>);
      if (health?.kudu.ok && health.wal.ok) break;
      await sleep(POLL_MS);
    }
    await sleep(TICKS_MS);
  }
}
