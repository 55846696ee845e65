import type { OpId } from '../../src/kudu/opid.ts';
import { furthestStart } from '../../src/replication/replica-keeper.ts';
import type { Ending } from '../../src/replication/replicator-core.ts';
import { shipsHere } from '../../src/replication/local-replica.ts';
import type { SinkPosition } from '../../src/change/position.ts';
import { Keeper } from './keeper.ts';
import { Process, type SimStream, type World } from './process.ts';
import { Shipper, type LastAcked } from './shipper.ts';
import type { Replica } from './tablet.ts';

const TICK_MS = 1000;
const FENCED_BASE_MS = 1000;
const FENCED_CAP_MS = 30_000;
const ASK_OTHERS_EVERY_MS = 15_000;
/** A sidecar that has not been heard of for so long does not live, as far as the others know. */
const ALIVE_FOR_MS = 5000;

export interface SidecarOptions {
  readonly world: World;
  readonly replica: Replica;
  readonly streams: readonly SimStream[];
  /** When each sidecar was heard of last, by the uuid of its tablet server. */
  readonly heardOf: Map<string, number>;
  /** The sidecars that answer, and what they hold. */
  readonly answering: () => readonly { readonly replica: Replica; readonly keeper: Keeper }[];
}

/** One life of the sidecar beside a replica: what peer-manager.ts does for one tablet. */
export class Sidecar {
  readonly process: Process;
  readonly keeper: Keeper;
  /** By generation: what is wanted to ship. */
  readonly shipping = new Map<string, Shipper>();
  /** All that have not ended, also those that are stopping. */
  readonly shippers = new Set<Shipper>();
  readonly #options: SidecarOptions;
  readonly #lastAcked = new Map<string, LastAcked>();
  readonly #fenced = new Map<string, { times: number; notBeforeMs: number }>();
  #askNotBeforeMs = 0;
  #stopping = false;

  constructor(name: string, options: SidecarOptions) {
    const { world, replica } = options;
    this.#options = options;
    this.process = new Process(name, world);
    this.keeper = new Keeper(world, this.process, replica);
    this.process.later('tick', () => {
      this.#tick();
    });
  }

  get gapAfter(): number | null {
    for (const { gapAfter } of this.shipping.values()) if (gapAfter !== null) return gapAfter;
    return null;
  }

  /** Every tablet finishes its batch, then what is due is marked, then it ends. */
  stop(): void {
    if (this.#stopping) return;
    this.#stopping = true;
    this.shipping.clear();
    for (const shipper of [...this.shippers]) shipper.stop();
    this.#stopWhenIdle();
  }

  #stopWhenIdle(): void {
    this.process.later(
      'stop',
      () => {
        this.keeper.flush((outcome) => {
          this.#options.world.trace(`${this.process.name} has stopped`);
          this.#options.world.invariants.checkStop(this.process.name, outcome === 'written' && this.keeper.owesMarker);
          this.process.alive = false;
        });
      },
      { isReady: () => this.shippers.size === 0 },
    );
  }

  #tick(): void {
    if (this.#stopping) return;
    const { world, replica, heardOf, streams } = this.#options;
    heardOf.set(replica.uuid, world.nowMs);
    this.keeper.setStreams(
      streams.map(({ generation, startIndex }) => ({ generation, startIndex: BigInt(startIndex) })),
    );
    this.#reconcile();
    this.#fillGap();
    this.process.later(
      'tick',
      () => {
        this.#tick();
      },
      { afterMs: TICK_MS },
    );
  }

  #reconcile(): void {
    const { world, streams } = this.#options;
    const wanted = new Set<SimStream>();
    for (const stream of this.#shipsHere() ? streams : []) {
      if (stream.paused || (this.#fenced.get(stream.generation)?.notBeforeMs ?? 0) > world.nowMs) continue;
      if (!this.shipping.has(stream.generation) && !this.keeper.state.caughtUp) continue;
      wanted.add(stream);
    }
    for (const [generation, shipper] of this.shipping) {
      if (wanted.has(shipper.stream)) continue;
      this.shipping.delete(generation);
      shipper.stop();
    }
    for (const stream of wanted) if (!this.shipping.has(stream.generation)) this.#start(stream);
  }

  #shipsHere(): boolean {
    const { world, replica, heardOf } = this.#options;
    const alive = new Set([...heardOf].filter(([, atMs]) => world.nowMs - atMs < ALIVE_FOR_MS).map(([uuid]) => uuid));
    const { replicas } = world.tablet;
    const leader = replica.knownLeader === null ? undefined : replicas[replica.knownLeader];
    const local = {
      tabletId: 'tablet',
      isLeader: replica.leads,
      isRunning: replica.running,
      leaderUuid: leader?.uuid ?? null,
      voterUuids: replicas.map(({ uuid }) => uuid),
    };
    return shipsHere(local, { self: replica.uuid, alive });
  }

  #start(stream: SimStream): void {
    const { world, replica } = this.#options;
    const { generation } = stream;
    const start = furthestStart(positionAt(stream.startIndex), this.keeper.marked(generation));
    let lastAcked = this.#lastAcked.get(generation);
    if (!lastAcked) this.#lastAcked.set(generation, (lastAcked = { last: null }));
    if (!replica.leads) world.invariants.saw('a stand-in shipped');
    world.trace(`${this.process.name} ships ${generation} after ${start.opId.index}`);
    const shipper: Shipper = new Shipper({
      world,
      process: this.process,
      replica,
      stream,
      start,
      lastAcked,
      onAcked: (position, worthIndex) => {
        this.keeper.acked(generation, position, worthIndex);
      },
      onDone: (ending) => {
        this.shippers.delete(shipper);
        this.keeper.shippingEnded(generation);
        this.#ended(shipper, ending);
      },
    });
    this.shippers.add(shipper);
    this.shipping.set(generation, shipper);
  }

  #ended(shipper: Shipper, ending: Ending): void {
    const { generation } = shipper.stream;
    if (this.shipping.get(generation) === shipper) this.shipping.delete(generation);
    if (ending === 'stopped') {
      this.#fenced.delete(generation);
      return;
    }
    const times = (this.#fenced.get(generation)?.times ?? 0) + 1;
    const waitMs = Math.min(FENCED_CAP_MS, FENCED_BASE_MS * 2 ** Math.min(times - 1, 10));
    this.#fenced.set(generation, { times, notBeforeMs: this.#options.world.nowMs + waitMs });
  }

  /** What our log lacks, another replica's may have; or it is not wanted any more. */
  #fillGap(): void {
    const { world } = this.#options;
    for (const [generation, shipper] of this.shipping) {
      const { gapAfter } = shipper;
      if (gapAfter === null) continue;
      if (world.rules.leavesGaps && (this.keeper.marked(generation)?.opId.index ?? 0n) > gapAfter) {
        world.trace(`${this.process.name} ships ${generation} anew: the gap after ${gapAfter} is done with`);
        this.shipping.delete(generation);
        shipper.stop();
      } else if (this.#askNotBeforeMs <= world.nowMs) {
        this.#askNotBeforeMs = world.nowMs + ASK_OTHERS_EVERY_MS;
        this.#ask(shipper, gapAfter);
      }
    }
  }

  #ask(shipper: Shipper, gapAfter: number): void {
    const { world, replica, answering } = this.#options;
    const others = answering().filter((other) => other.replica !== replica);
    const isDamaged = replica.hold.isDamaged(gapAfter + 1);
    const filled = others.some((other) => replica.hold.fill(gapAfter + 1, replica, other.replica));
    world.trace(`${this.process.name} asks for what is after ${gapAfter}: ${filled ? 'filled' : 'nobody'}`);
    if (world.rules.asksForMarks) for (const { keeper } of others) this.keeper.learn(keeper.state.marked.values());
    if (!filled) return;
    world.invariants.saw('a gap was filled from another sidecar');
    if (isDamaged) world.invariants.saw('damage in a held log was filled from another sidecar');
    shipper.logFilled();
  }
}

function positionAt(index: number): SinkPosition {
  const opId: OpId = { term: 0n, index: BigInt(index) };
  return { opId, tableName: 'table', schemaVersion: 0 };
}
