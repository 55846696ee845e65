import type { OpId } from '../../src/kudu/opid.ts';
import { furthestStart } from '../../src/keeping/replica-keeper.ts';
import { sinkWorks, type Ending } from '../../src/shipping/replicator-state.ts';
import { SIDECAR_ALIVE_MS } from '../../src/sidecars/sidecar-registry.ts';
import { HandOverCore, keyOf, type Word } from '../../src/placement/hand-over-core.ts';
import { seeToGap } from '../../src/placement/gap-core.ts';
import { ASK_OTHERS_EVERY_MS } from '../../src/placement/gap-filling.ts';
import type { LocalReplica } from '../../src/keeping/local-replica.ts';
import { Placement } from '../../src/placement/placement.ts';
import { refusingSink } from '../../src/sinks/refusing-sink.ts';
import type { TabletPosition } from '../../src/change/position.ts';
import { Keeper } from './keeper.ts';
import { Process, type Reach, type SimStream, type World } from './process.ts';
import type { AckedTrail } from '../../src/sinks/kafka/acked-trail.ts';
import { Shipper } from './shipper.ts';
import type { Replica } from './tablet.ts';

const TICK_MS = 1000;
const TABLET = 'tablet';
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
  readonly reach: () => Reach;
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
  readonly #trails = new Map<string, AckedTrail>();
  readonly #handOver: HandOverCore;
  readonly #placement: Placement;
  /** What its tablet server said last. */
  #replica: LocalReplica;
  /** As of the last look at them. */
  #streams: readonly SimStream[] = [];
  #askNotBeforeMs = 0;
  #stopping = false;

  constructor(name: string, options: SidecarOptions) {
    const { world, replica } = options;
    this.#options = options;
    this.process = new Process(name, world, options.reach);
    this.#replica = this.#localReplica();
    this.#handOver = new HandOverCore(replica.uuid, () => world.nowMs);
    this.#placement = this.#createPlacement();
    this.keeper = new Keeper(world, this.process, replica);
    this.process.later('tick', () => {
      this.#tick();
    });
  }

  get gapAfter(): number | null {
    for (const { gap } of this.shipping.values()) if (gap !== null) return Number(gap.after.index);
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
    const isSure = world.fate() === 'answered';
    if (isSure) this.#streams = [...streams];
    this.keeper.setStreams(
      this.#streams.map(({ generation, startIndex }) => ({ generation, startIndex: BigInt(startIndex) })),
      { isSure },
    );
    this.#look();
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
    const { replica } = this.#options;
    if (replica.up) {
      this.#replica = this.#localReplica();
      this.#placement.heardServer();
    }
    this.#handOver.dropClaims();
    this.#placement.beginRound();
    const wanted = new Set(this.#streams.filter((stream) => !stream.paused && this.#isOurs(stream)));
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
      tabletId: TABLET,
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

  #createPlacement(): Placement {
    const { world, reach } = this.#options;
    const fault = (): null | { code: string; message: string } =>
      reach() === 'cut-off' ? { code: 'SPOOR_SINK_UNAVAILABLE', message: 'cut off' } : null;
    const checks = { works: () => fault() === null, failure: fault };
    return new Placement(this.#handOver, checks, () => world.nowMs);
  }

  /** What hand-over.ts asks, with answers that take no time. */
  #look(): void {
    const { world, heardOf, replica, answering } = this.#options;
    this.#handOver.beginLook();
    const living = [...heardOf.keys()].filter((uuid) => this.#lives(uuid));
    this.#handOver.foundLiving(new Set(living));
    if (this.#handOver.wantsWords) {
      const hearing = this.#handOver.beginHearing(true);
      const said = new Map<string, ReadonlyMap<string, Word> | null>();
      for (const uuid of living) if (uuid !== replica.uuid) said.set(uuid, null);
      for (const { replica: other, sidecar } of answering())
        if (said.has(other.uuid) && world.fate() === 'answered') said.set(other.uuid, sidecar.words());
      this.#handOver.heard(hearing, said);
    }
    this.#handOver.endLook(true);
  }

  /** What it says to the others of the tablet in each stream that is not as usual. */
  words(): ReadonlyMap<string, Word> {
    const words = new Map<string, Word>();
    for (const { generation } of this.#streams) {
      const word = this.#wordOf(generation);
      if (word) words.set(keyOf(generation, TABLET), word);
    }
    return words;
  }

  #wordOf(generation: string): Word | null {
    if (this.#placement.inabilityOf(generation) !== null) return 'yields';
    const isShipped = [...this.shippers].some(({ stream }) => stream.generation === generation);
    if (isShipped) return this.#replica.isLeader ? null : 'ships';
    return this.#handOver.hasClaim(generation, TABLET) ? 'claims' : null;
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
    let trail = this.#trails.get(generation);
    if (!trail) this.#trails.set(generation, (trail = world.rules.newTrail()));
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
      trail,
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
      const { gap } = shipper;
      if (gap === null) continue;
      const step = seeToGap({
        afterIndex: gap.after.index,
        lastsMs: world.nowMs - gap.sinceMs,
        markedIndex: world.rules.leavesGaps ? (this.keeper.marked(generation)?.opId.index ?? 0n) : 0n,
        verdict: null,
        sinkWorks: sinkWorks(shipper.state),
        droppedForMs: null,
        isAskedFor: false,
        repair: 'manual', // there is no table here to make up for it
      });
      const after = Number(gap.after.index);
      if (step === 'begins-anew') {
        world.trace(`${this.process.name} ships ${generation} anew: the gap after ${after} is done with`);
        this.shipping.delete(generation);
        shipper.stop();
      } else if (this.#askNotBeforeMs <= world.nowMs) {
        this.#askNotBeforeMs = world.nowMs + ASK_OTHERS_EVERY_MS;
        this.#ask(shipper, after);
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
