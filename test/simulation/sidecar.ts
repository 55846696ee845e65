import type { OpId } from '../../src/kudu/opid.ts';
import { furthestStart } from '../../src/keeping/replica-keeper.ts';
import type { Ending } from '../../src/shipping/replicator-state.ts';
import { SIDECAR_ALIVE_MS } from '../../src/sidecars/sidecar-registry.ts';
import type { Since, Word } from '../../src/placement/hand-over.ts';
import type { LocalReplica } from '../../src/keeping/local-replica.ts';
import { Placement } from '../../src/placement/placement.ts';
import { refusingSink } from '../../src/sinks/refusing-sink.ts';
import type { TabletPosition } from '../../src/change/position.ts';
import { Keeper } from './keeper.ts';
import { Process, type SimStream, type World } from './process.ts';
import { Shipper, type LastAcked } from './shipper.ts';
import type { Replica } from './tablet.ts';

const TICK_MS = 1000;
const ASK_OTHERS_EVERY_MS = 15_000;
/** Past it a stand-in that does not finish is fenced. */
const FINISH_WITHIN_MS = 15_000;
/** Whether it answers is asked of the world. */
const SINK = refusingSink('simulated');

export interface SidecarOptions {
  readonly world: World;
  readonly replica: Replica;
  readonly streams: readonly SimStream[];
  /** When each sidecar was heard of last, by the uuid of its tablet server. */
  readonly heardOf: Map<string, number>;
  /** The sidecars that answer, and what they hold. */
  readonly answering: () => readonly Answering[];
  readonly isCutOff: () => boolean;
}

interface Answering {
  readonly replica: Replica;
  readonly keeper: Keeper;
  readonly sidecar: Sidecar;
}

/** One life of the sidecar beside a replica: what tablet-manager.ts does for one tablet. */
export class Sidecar {
  readonly process: Process;
  readonly keeper: Keeper;
  /** By generation: what is wanted to ship. */
  readonly shipping = new Map<string, Shipper>();
  /** All that have not ended, also those that are stopping. */
  readonly shippers = new Set<Shipper>();
  readonly #options: SidecarOptions;
  readonly #lastAcked = new Map<string, LastAcked>();
  readonly #placement: Placement;
  /** By generation: of tablets that it would begin to ship in another's place; those of the tick before. */
  #claims = new Map<string, number>();
  #claimed = new Map<string, number>();
  /** What its tablet server said last. */
  #replica: LocalReplica;
  #askNotBeforeMs = 0;
  #stopping = false;

  constructor(name: string, options: SidecarOptions) {
    const { world, replica } = options;
    this.#options = options;
    this.process = new Process(name, world, options.isCutOff);
    this.#replica = this.#localReplica();
    this.#placement = this.#createPlacement();
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
    const { streams, replica } = this.#options;
    if (replica.up) {
      this.#replica = this.#localReplica();
      this.#placement.heardServer();
    }
    this.#claimed = this.#claims;
    this.#claims = new Map();
    this.#placement.beginRound();
    const wanted = new Set(streams.filter((stream) => !stream.paused && this.#isOurs(stream)));
    for (const [generation, shipper] of this.shipping) {
      if (wanted.has(shipper.stream)) continue;
      this.shipping.delete(generation);
      shipper.stop();
    }
    for (const stream of wanted) if (!this.shipping.has(stream.generation)) this.#start(stream);
  }

  #localReplica(): LocalReplica {
    const { world, replica } = this.#options;
    const { replicas } = world.tablet;
    const leader = replica.knownLeader === null ? undefined : replicas[replica.knownLeader];
    return {
      tabletId: 'tablet',
      isLeader: replica.leads,
      isRunning: replica.running,
      leaderUuid: leader?.uuid ?? null,
      voterUuids: replicas.map(({ uuid }) => uuid),
    };
  }

  #lives(uuid: string): boolean {
    const { world, heardOf } = this.#options;
    return world.nowMs - (heardOf.get(uuid) ?? Number.NEGATIVE_INFINITY) < SIDECAR_ALIVE_MS;
  }

  /** What hand-over.ts does, with answers that take no time. */
  #createPlacement(): Placement {
    const { world, replica, isCutOff } = this.#options;
    const standsIn = (generation: string): boolean =>
      [...this.#words(generation).values()].some((word) => word !== 'yields');
    const fault = (): null | { code: string; message: string } =>
      isCutOff() ? { code: 'SPOOR_SINK_UNAVAILABLE', message: 'cut off' } : null;
    return new Placement(
      {
        selfUuid: replica.uuid,
        lives: (uuid) => this.#lives(uuid),
        words: (generation) => this.#words(generation),
        get since(): Since {
          return { looks: 0, atMs: world.nowMs };
        },
        mayLead: (generation, _tabletId, since) =>
          since === null || !standsIn(generation) || world.nowMs - since.atMs > FINISH_WITHIN_MS,
        mayStandIn: (generation) => {
          const shownSinceMs = this.#claimed.get(generation) ?? world.nowMs;
          this.#claims.set(generation, shownSinceMs);
          if (!this.#claimed.has(generation)) return false;
          return !standsIn(generation) || world.nowMs - shownSinceMs > FINISH_WITHIN_MS;
        },
      },
      { works: () => fault() === null, failure: fault },
      () => world.nowMs,
    );
  }

  #words(generation: string): ReadonlyMap<string, Word> {
    const { answering, replica } = this.#options;
    const words = new Map<string, Word>();
    for (const other of answering()) {
      const word = other.sidecar.say(generation);
      if (word && other.replica !== replica && this.#lives(other.replica.uuid)) words.set(other.replica.uuid, word);
    }
    return words;
  }

  /** What it says to the others of a stream's tablet that is not as usual. */
  say(generation: string): Word | null {
    if (this.#placement.inabilityOf(generation) !== null) return 'yields';
    const isShipped = [...this.shippers].some(({ stream }) => stream.generation === generation);
    if (isShipped) return this.#replica.isLeader ? null : 'ships';
    return this.#claims.has(generation) ? 'claims' : null;
  }

  #isOurs({ generation }: SimStream): boolean {
    const { world } = this.#options;
    const shipping = this.shipping.get(generation) ?? null;
    const { caughtUp } = this.keeper.state;
    if (world.rules.choosesByLife && !this.#shipsByLife()) return false;
    return this.#placement.ships({
      key: generation,
      stream: generation,
      replica: this.#replica,
      sink: SINK,
      caughtUp,
      unreadable: null,
      shipping: shipping && { works: shipping.works, fault: shipping.state.sinkFault?.fault ?? null },
    });
  }

  #shipsByLife(): boolean {
    const { isLeader, isRunning, leaderUuid, voterUuids } = this.#replica;
    if (!isRunning || isLeader) return isRunning;
    if (leaderUuid === null || this.#lives(leaderUuid)) return false;
    return voterUuids.find((uuid) => this.#lives(uuid)) === this.#options.replica.uuid;
  }

  #start(stream: SimStream): void {
    const { world, replica } = this.#options;
    const { generation } = stream;
    const start = furthestStart(positionAt(stream.startIndex), this.keeper.marked(generation));
    let lastAcked = this.#lastAcked.get(generation);
    if (!lastAcked) this.#lastAcked.set(generation, (lastAcked = { last: null }));
    const { isLeader, leaderUuid } = this.#replica;
    if (!isLeader) world.invariants.saw('a stand-in shipped');
    if (!isLeader && leaderUuid !== null && this.#lives(leaderUuid))
      world.invariants.saw('a stand-in shipped in the place of one that lives');
    const begunMs = world.nowMs;
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
        this.#ended(shipper, ending, world.nowMs - begunMs);
      },
    });
    this.shippers.add(shipper);
    this.shipping.set(generation, shipper);
  }

  #ended(shipper: Shipper, ending: Ending, ranMs: number): void {
    const { generation } = shipper.stream;
    if (this.shipping.get(generation) !== shipper) return; // it was stopped, whatever it met on its way
    this.shipping.delete(generation);
    this.#placement.ended(generation, ending, ranMs);
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
    for (const { keeper } of others) this.keeper.learn(keeper.state.marked.values());
    if (!filled) return;
    world.invariants.saw('a gap was filled from another sidecar');
    if (isDamaged) world.invariants.saw('damage in a held log was filled from another sidecar');
    shipper.logFilled();
  }
}

function positionAt(index: number): TabletPosition {
  const opId: OpId = { term: 0n, index: BigInt(index) };
  return { opId, tableName: 'table', schemaVersion: 0 };
}
