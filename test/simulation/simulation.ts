import { broken, BrokenInvariant, Invariants, type Sight } from './invariants.ts';
import {
  Killed,
  type Fate,
  type MarkerUnderWay,
  type Process,
  type Reach,
  type Rules,
  type SimStream,
  type Task,
  type World,
} from './process.ts';
import { Random } from './random.ts';
import { Sidecar } from './sidecar.ts';
import { SimSink, type Delivery } from './sink.ts';
import { DELIVERIES, troubleOf, type Focus, type Trouble } from './trouble.ts';
import { Tablet, type Replica } from './tablet.ts';
import type { Shipper } from './shipper.ts';

const STEPS = 350;
const MAX_HEALING_ROUNDS = 600;
/** Long enough for every retry, every timer and every sidecar that was fenced. */
const HEALING_ROUND_MS = 150;
/** As long as nobody is to be marked or let go, only somebody found who ships. */
const LONG_ROUND_MS = 500;
const MAX_LONG_ROUNDS = 800;
const QUIET_ROUNDS = 40;
/** As long as the API's own. */
const KEEP_FOR_NOW_MS = 30_000;
/** Between the look for its begin and its being there. */
const MAKING_TAKES_MS = 5_000;
const TRACE_LENGTH = 60;
const MAX_LOG_LENGTH = 150;

export interface Outcome {
  readonly seed: number;
  /** Null: all invariants hold. */
  readonly broken: BrokenInvariant | null;
  /** The last steps before that. */
  readonly trace: readonly string[];
  readonly steps: number;
  readonly records: number;
  /** Something was lost that nobody could keep: no sidecar lived. */
  readonly hasGap: boolean;
  readonly sights: ReadonlyMap<Sight, number>;
}

/** One tablet with three replicas, a sidecar beside each, two streams at most, and a clock: all as one seed has it. */
export class Simulation implements World {
  nowMs = 1_000_000;
  readonly random: Random;
  readonly rules: Rules;
  readonly tablet = new Tablet();
  readonly invariants = new Invariants(this.tablet);
  readonly network: Task[] = [];
  readonly markersUnderWay: MarkerUnderWay[] = [];
  encodingFailures: number;
  lostLogs: number;
  readonly #seed: number;
  readonly #streams: SimStream[] = [];
  readonly #sidecars: (Sidecar | null)[] = [null, null, null];
  readonly #heardOf = new Map<string, number>();
  /** How far the sidecars beside them reach the sinks, where that is not well. */
  readonly #reach = new Map<Replica, Reach>();
  readonly #trouble: Trouble;
  readonly #trace: string[] = [];
  #healing = false;
  #hasGap = false;
  #lives = 0;
  #steps = 0;

  /** @param focus what is the same in all seeds */
  constructor(seed: number, rules: Rules, focus: Focus = {}) {
    this.#seed = seed;
    this.rules = rules;
    this.random = new Random(seed);
    this.#trouble = { ...troubleOf(this.random), ...focus.trouble };
    this.encodingFailures = this.#trouble.requests / 10;
    this.lostLogs = this.#trouble.requests / 2;
    this.tablet.elect(this.tablet.replicas[0]!);
    const delivery = (): Delivery => focus.delivery ?? this.random.pick<Delivery>(DELIVERIES);
    this.#addStream('a', delivery(), 0);
    if (this.random.chance(0.5)) this.#addStream('b', delivery(), this.random.below(2));
    for (const replica of this.tablet.replicas) this.#startSidecar(replica);
    this.trace(`streams ${this.#streams.map(({ generation, sink }) => `${generation}: ${sink.delivery}`).join(', ')}`);
  }

  /** Plays the whole seed. */
  run(): Outcome {
    let failure: BrokenInvariant | null = null;
    try {
      for (let i = 0; i < STEPS; i++) this.#step();
      this.#heal();
    } catch (error) {
      if (!(error instanceof BrokenInvariant)) throw error;
      failure = error;
    }
    const { committed } = this.tablet;
    const records = committed.reduce((sum, { rows }) => sum + rows, 0);
    return {
      seed: this.#seed,
      broken: failure,
      trace: this.#trace,
      steps: this.#steps,
      records,
      hasGap: this.#hasGap,
      sights: this.invariants.sights,
    };
  }

  fate(): Fate {
    if (this.#healing || !this.random.chance(this.#trouble.requests)) return 'answered';
    return this.random.pick<Fate>(['lost', 'answer-lost', 'impatient']);
  }

  mayBeKilled({ name }: Process): void {
    if (this.#healing || !this.random.chance(this.#trouble.kills)) return;
    this.trace(`kill -9 ${name} between two effects`);
    this.invariants.saw('a sidecar was killed between two effects');
    throw new Killed();
  }

  trace(what: string): void {
    this.#trace.push(`${String(this.#steps).padStart(4)} ${this.nowMs - 1_000_000} ms  ${what}`);
    if (this.#trace.length > 20 * TRACE_LENGTH) this.#trace.splice(0, 19 * TRACE_LENGTH);
  }

  #addStream(generation: string, delivery: Delivery, startIndex: number): void {
    const { random, invariants } = this;
    const sink = new SimSink(generation, delivery, { random, invariants, fences: this.rules.sinkFences });
    this.#streams.push({ generation, startIndex, sink, paused: false });
    invariants.addStream(generation, startIndex);
  }

  #startSidecar(replica: Replica): void {
    const name = `sidecar ${replica.id} (life ${++this.#lives})`;
    this.#sidecars[replica.id] = new Sidecar(name, {
      world: this,
      replica,
      streams: this.#streams,
      heardOf: this.#heardOf,
      answering: () =>
        this.#living().map(({ id, sidecar }) => ({
          replica: this.tablet.replicas[id]!,
          keeper: sidecar.keeper,
          sidecar,
        })),
      reach: () => this.#reach.get(replica) ?? 'well',
    });
    this.trace(`${name} starts`);
  }

  #living(): { readonly id: number; readonly sidecar: Sidecar }[] {
    return this.#sidecars.flatMap((sidecar, id) => {
      if (!sidecar?.process.alive || sidecar.process.frozen) return [];
      return [{ id, sidecar }];
    });
  }

  #step(): void {
    this.#steps++;
    const roll = this.random.below(100);
    if (roll < 50) this.#runAny();
    else if (roll < 62) this.#deliver();
    else if (roll < 70) this.#replicate();
    else if (roll < 76) this.#show(this.random.pick(this.tablet.replicas));
    else if (roll < 83) this.#propose();
    else if (roll < 93) this.#advanceClock();
    else this.#makeTrouble();
    this.#check();
  }

  /** After whatever happened: the logs are linked, markers are settled, and everything is true. */
  #check(): void {
    for (const { id } of this.#living()) {
      const replica = this.tablet.replicas[id]!;
      if (replica.running) replica.hold.mirror(replica);
    }
    this.#settleMarkers();
    for (const sidecar of this.#sidecars) {
      if (!sidecar?.process.alive) continue;
      this.invariants.checkSidecar({
        name: sidecar.process.name,
        acked: [...sidecar.shippers].map(({ stream, state }) => ({
          generation: stream.generation,
          index: Number(state.acked.opId.index),
        })),
        marked: this.#streams.map(({ generation }) => ({
          generation,
          index: Number(sidecar.keeper.marked(generation)?.opId.index ?? 0n),
        })),
      });
    }
  }

  #settleMarkers(): void {
    for (let i = this.markersUnderWay.length - 1; i >= 0; i--) {
      const { entry, settle } = this.markersUnderWay[i]!;
      const at = this.tablet.committed[entry.index - 1];
      if (!at && this.tablet.replicas.some(({ log }) => log[entry.index - 1] === entry)) continue;
      if (at !== entry) this.invariants.saw('a marker was overwritten');
      settle(at === entry ? 'written' : 'failed');
      this.markersUnderWay.splice(i, 1);
    }
  }

  #runAny(): void {
    const living = this.#living();
    if (living.length === 0) return;
    const { sidecar } = this.random.pick(living);
    const ready = sidecar.process.tasks.filter((task) => this.#isReady(task));
    if (ready.length > 0) this.#run(sidecar, this.random.pick(ready));
  }

  #isReady({ atMs, isReady }: Task): boolean {
    return atMs <= this.nowMs && (isReady === undefined || isReady());
  }

  #run({ process }: Sidecar, task: Task): void {
    process.tasks.splice(process.tasks.indexOf(task), 1);
    if (!this.#healing || task.label !== 'tick') this.trace(`${process.name}: ${task.label}`);
    try {
      task.run();
    } catch (error) {
      if (!(error instanceof Killed)) throw error;
      process.alive = false;
    }
  }

  #deliver(): void {
    const [task] = this.network.splice(this.random.below(this.network.length), 1);
    if (!task) return;
    this.trace(task.label);
    task.run();
  }

  #propose(): void {
    const leaders = this.tablet.leaders();
    if (leaders.length === 0) return;
    const leader = this.random.pick(leaders);
    if (leader.log.length >= MAX_LOG_LENGTH) return;
    const entry = this.tablet.propose(leader, { kind: 'write', rows: this.random.below(4), marker: null });
    this.trace(`replica ${leader.id} proposes ${entry.term}.${entry.index} with ${entry.rows} rows`);
  }

  #replicate(): void {
    const leaders = this.tablet.leaders();
    if (leaders.length === 0) return;
    const leader = this.random.pick(leaders);
    const follower = this.random.pick(this.tablet.replicas.filter((replica) => replica !== leader));
    this.#replicateTo(leader, follower, this.random.between(1, 5));
  }

  #replicateTo(leader: Replica, follower: Replica, count: number): void {
    const uncommitted = follower.log.slice(follower.commitIndex);
    const before = `${follower.log.length} ${follower.commitIndex} ${follower.term}`;
    const outcome = this.tablet.replicate(leader, follower, count);
    if (before === `${follower.log.length} ${follower.commitIndex} ${follower.term}` && outcome === 'done') return;
    if (uncommitted.some((entry) => follower.log[entry.index - 1] !== entry))
      this.invariants.saw('an uncommitted tail was overwritten');
    if (outcome === 'done')
      this.trace(
        `replica ${leader.id} to ${follower.id}: ${follower.log.length} of ${leader.log.length}, committed ${leader.commitIndex}`,
      );
    else if (outcome === 'has-gap') this.#copy(follower, leader);
    else if (follower.running && follower.term > leader.term) {
      leader.leads = false;
      leader.term = follower.term;
      leader.knownLeader = follower.knownLeader;
      this.trace(`replica ${leader.id} learns that it does not lead`);
    }
  }

  /** COMMITs get into a replica's log. */
  #show(replica: Replica): void {
    if (!replica.running || !replica.up || replica.shown >= replica.commitIndex) return;
    replica.shown = this.random.between(replica.shown + 1, replica.commitIndex);
    this.trace(`replica ${replica.id} logs COMMIT up to ${replica.shown}`);
  }

  #advanceClock(): void {
    this.nowMs += this.random.pick([1, 10, 30, 100, 300, 1000, 3000, 8000]);
  }

  #makeTrouble(): void {
    const { random, tablet } = this;
    const trouble = this.#trouble;
    const replica = random.pick(tablet.replicas);
    const sidecar = this.#sidecars[replica.id] ?? null;
    switch (random.below(16)) {
      case 0:
        if (trouble.elections && tablet.elect(replica)) this.trace(`replica ${replica.id} leads term ${replica.term}`);
        return;
      case 1:
        if (trouble.kills > 0 && sidecar?.process.alive) {
          this.trace(`kill -9 ${sidecar.process.name}`);
          sidecar.process.alive = false;
        }
        return;
      case 2:
      case 3:
        if (!sidecar?.process.alive) this.#startSidecar(replica);
        return;
      case 4:
        if (!sidecar?.process.alive || (!trouble.freezes && !sidecar.process.frozen)) return;
        sidecar.process.frozen = !sidecar.process.frozen;
        this.trace(`${sidecar.process.name} ${sidecar.process.frozen ? 'freezes' : 'goes on'}`);
        return;
      case 5:
        if (trouble.stops && sidecar?.process.alive && !sidecar.process.frozen) {
          this.trace(`${sidecar.process.name} is told to stop`);
          this.#guard(sidecar, () => {
            sidecar.stop();
          });
        }
        return;
      case 6:
        if (trouble.gc) this.#collect(replica);
        return;
      case 7:
        if (trouble.restarts) this.#restart(replica);
        return;
      case 8:
        if (trouble.copies) this.#copyOrFinish(replica);
        return;
      case 9:
        if (trouble.outages) this.#toggleOutage();
        return;
      case 10:
        if (trouble.damage) this.#damage(tablet.replicas[0]!);
        return;
      case 13:
        if (trouble.pauses) this.#togglePause();
        return;
      case 11:
        if (trouble.servers) this.#toggleServer(replica);
        return;
      case 14:
        if (trouble.hangs) this.#toggleReach(replica, 'hangs');
        return;
      case 15:
        if (trouble.streams) this.#makeStream();
        return;
      default:
        if (trouble.cutOffs) this.#toggleReach(replica, 'cut-off');
    }
  }

  /** Its sidecar lives on; the others are a majority. */
  #toggleServer(replica: Replica): void {
    if (replica.up && this.tablet.replicas.some(({ up }) => !up)) return;
    this.trace(`tablet server ${replica.id} is ${replica.up ? 'down' : 'up again'}`);
    if (replica.up) this.#takeDown(replica);
    else replica.up = true;
  }

  /** Whoever waits for a marker that it has taken does so in vain. */
  #takeDown(replica: Replica): void {
    replica.up = replica.leads = false;
    for (const { settle } of this.markersUnderWay.splice(0)) settle('failed');
  }

  #toggleReach(replica: Replica, reach: Reach): void {
    const isTrouble = !this.#reach.has(replica);
    if (isTrouble) this.#reach.set(replica, reach);
    else this.#reach.delete(replica);
    this.trace(`sidecar ${replica.id} and the sinks: ${this.#reach.get(replica) ?? 'well again'}`);
  }

  /** As the API does it: all are told to keep what they have, then it is looked where the stream is to begin, then it is there. */
  #makeStream(): void {
    if (this.#streams.length > 1) return;
    for (const { sidecar } of this.#living())
      if (this.fate() === 'answered')
        this.#guard(sidecar, () => {
          sidecar.keeper.pinFor(KEEP_FOR_NOW_MS);
        });
    const startIndex = this.tablet.committed.length;
    const untilMs = this.nowMs + MAKING_TAKES_MS;
    const label = `a stream that begins behind ${startIndex} is made`;
    const run = (): void => {
      if (this.#streams.length > 1 || this.nowMs > untilMs) return; // whoever made it has given up
      this.invariants.saw('a stream was made meanwhile');
      this.#addStream('b', this.random.pick(DELIVERIES), startIndex);
    };
    this.network.push({ label, atMs: this.nowMs, run });
  }

  #damage(replica: Replica): void {
    const from = Math.max(1, replica.hold.first);
    const to = replica.shown - 1;
    if (to < from) return;
    const index = this.random.between(from, to);
    this.trace(`operation ${index} goes bad on the disk of replica ${replica.id}`);
    replica.hold.damage(index);
  }

  #guard({ process }: Sidecar, work: () => void): void {
    try {
      work();
    } catch (error) {
      if (!(error instanceof Killed)) throw error;
      process.alive = false;
    }
  }

  /** The tablet server drops some of what it does not need itself: not the last operation that is committed. */
  #collect(replica: Replica): void {
    const to = Math.min(replica.shown, replica.log.length);
    if (!replica.up || to <= replica.first) return;
    replica.first = this.random.between(replica.first, to);
    this.trace(`replica ${replica.id} drops its log before ${replica.first}`);
  }

  /** The log is written anew; the last COMMITs may not have reached the disk. */
  #restart(replica: Replica): void {
    if (!replica.running || !replica.up) return;
    replica.leads = false;
    if (replica.shown > replica.first)
      replica.shown = this.random.between(Math.max(replica.first, replica.shown - 4), replica.shown);
    this.trace(`tablet server ${replica.id} restarts, COMMITs up to ${replica.shown}`);
  }

  #copyOrFinish(replica: Replica): void {
    if (!replica.up) return;
    const source = this.tablet
      .leaders()
      .find(({ term }) => term === Math.max(...this.tablet.replicas.map((r) => r.term)));
    if (!replica.running) {
      if (source && source !== replica) this.#copy(replica, source);
    } else if (source && source !== replica && this.tablet.replicas.every(({ running, up }) => running && up)) {
      replica.running = false;
      replica.leads = false;
      this.trace(`replica ${replica.id} is tombstoned`);
    }
  }

  #copy(replica: Replica, source: Replica): void {
    this.invariants.saw('a replica was copied anew');
    this.tablet.copy(replica, source);
    replica.running = true;
    this.trace(`replica ${replica.id} is copied from ${source.id}, from index ${source.first} on`);
  }

  #toggleOutage(): void {
    const { sink } = this.random.pick(this.#streams);
    sink.isDown = !sink.isDown;
    this.trace(`sink of ${sink.generation} is ${sink.isDown ? 'away' : 'back'}`);
  }

  #togglePause(): void {
    const stream = this.random.pick(this.#streams);
    stream.paused = !stream.paused;
    this.trace(`stream ${stream.generation} is ${stream.paused ? 'paused' : 'resumed'}`);
  }

  /** Everything is well again: it all must arrive, be marked and be let go, and then there must be quiet. */
  #heal(): void {
    this.#healing = true;
    this.encodingFailures = 0;
    this.lostLogs = 0;
    this.trace('all is well again');
    for (const stream of this.#streams) {
      stream.paused = false;
      stream.sink.isDown = false;
    }
    for (const sidecar of this.#sidecars) if (sidecar) sidecar.process.frozen = false;
    this.#healInPart();
    this.#awaitLeader();
    let unsettled: () => never = () => broken('everything is delivered in the end', 'it never began');
    let round = 0;
    for (; round < MAX_HEALING_ROUNDS; round++) {
      this.#healOnce();
      if (round > 10 && this.#hasTrueGap()) {
        this.#hasGap = true;
        return;
      }
      const open = this.#unsettled();
      if (!open) break;
      unsettled = open;
    }
    if (round === MAX_HEALING_ROUNDS) unsettled();
    for (let i = 0; i < QUIET_ROUNDS; i++) this.#healOnce(); // a marker that covers a marker may be due, once
    const length = this.#leader()?.log.length;
    for (let i = 0; i < QUIET_ROUNDS; i++) this.#healOnce();
    if (this.#leader()?.log.length !== length)
      broken(
        'markers beget no markers',
        `the log grew from ${length} to ${this.#leader()?.log.length} while nobody wrote`,
      );
  }

  /** All is well but for some sidecars that cannot ship: whoever can does. */
  #healInPart(): void {
    const { random, tablet } = this;
    const [one, other, able] = random.shuffled(tablet.replicas);
    const how = random.pick(['cut-off', 'cut-off', 'hangs', 'dead', 'well'] as const);
    this.#reach.clear();
    for (const replica of tablet.replicas) replica.up = true;
    if (how === 'well') return;
    if (how === 'dead') this.#kill(one!);
    else this.#reach.set(one!, how);
    // Two that run must be left, or nobody leads.
    if (random.chance(0.5) && tablet.replicas.every(({ running }) => running)) this.#takeDown(other!);
    else this.#reach.set(other!, how === 'hangs' ? 'hangs' : 'cut-off');
    this.trace(`sidecar ${one!.id}: ${how}, and that of ${other!.id} ${other!.up ? 'too' : 'has no server'}`);
    const dead = how === 'dead' ? one! : null;
    if (how === 'hangs' && this.#undelivered() !== null) this.invariants.saw('another shipped where the sinks hang');
    for (let round = 0; this.#undelivered() !== null; round++) {
      this.#healOnce(dead, LONG_ROUND_MS);
      // What only one has that does not answer is in no log that does.
      if (round > 10 && (this.#hasTrueGap() || this.#living().some(({ sidecar }) => sidecar.gapAfter !== null))) break;
      if (round > MAX_LONG_ROUNDS) broken('whoever can ship does', `sidecar ${able!.id}: ${this.#undelivered()}`);
    }
    this.#reach.clear();
    other!.up = true;
  }

  #awaitLeader(): void {
    for (let round = 0; !this.#leaderShips(); round++) {
      this.#healOnce(null, LONG_ROUND_MS);
      if (round > MAX_LONG_ROUNDS) broken('whoever can ship does', "the leader's sidecar does not take over again");
    }
  }

  #leaderShips(): boolean {
    const leader = this.#leader();
    const sidecar = leader && this.#sidecars[leader.id];
    const shippers = this.#living().flatMap((living) => [...living.sidecar.shippers]);
    return sidecar?.shipping.size === this.#streams.length && shippers.length === this.#streams.length;
  }

  #kill(replica: Replica): void {
    const sidecar = this.#sidecars[replica.id];
    if (sidecar) sidecar.process.alive = false;
  }

  #leader(): Replica | undefined {
    const term = Math.max(...this.tablet.replicas.map((replica) => replica.term));
    return this.tablet.leaders().find((replica) => replica.term === term);
  }

  /** @param dead beside whom no sidecar is started */
  #healOnce(dead: Replica | null = null, ms = HEALING_ROUND_MS): void {
    this.#steps++;
    const { replicas } = this.tablet;
    let leader = this.#leader();
    if (!leader) {
      for (const candidate of replicas) if (!leader && this.tablet.elect(candidate)) leader = candidate;
      if (!leader) return;
      this.trace(`replica ${leader.id} leads term ${leader.term}`);
    }
    for (const follower of replicas) {
      if (follower === leader) continue;
      if (!follower.up) continue;
      if (!follower.running) this.#copy(follower, leader);
      else this.#replicateTo(leader, follower, 1000);
    }
    for (const follower of replicas) if (follower !== leader) this.tablet.replicate(leader, follower, 1000);
    for (const replica of replicas) if (replica.up) replica.shown = replica.commitIndex;
    for (const replica of replicas)
      if (replica !== dead && !this.#sidecars[replica.id]?.process.alive) this.#startSidecar(replica);
    this.nowMs += ms;
    while (this.network.length > 0) this.#deliver();
    this.#check();
    for (const { sidecar } of this.#living())
      for (const task of sidecar.process.tasks.filter((ready) => this.#isReady(ready)))
        if (sidecar.process.alive) this.#run(sidecar, task);
    this.#check();
  }

  /**
   * Beyond what sink and markers know to be delivered something is in no replica's log and in no hold: all sidecars were
   * away when it went. What comes before need not be anywhere, and nobody may ask for it for ever.
   */
  #hasTrueGap(): boolean {
    const { committed, replicas } = this.tablet;
    return this.#streams.some(({ generation, startIndex, sink }) => {
      const marked = this.#living().map(({ sidecar }) => Number(sidecar.keeper.marked(generation)?.opId.index ?? 0n));
      const known = Math.max(startIndex, Number(sink.position?.opId.index ?? 0n), ...marked);
      return committed
        .slice(known)
        .some(({ index }) => replicas.every((replica) => typeof replica.hold.find(index, replica) === 'string'));
    });
  }

  /** A stream that has not got everything that is committed, or null. */
  #undelivered(): string | null {
    const { committed } = this.tablet;
    const open = this.#streams.find(({ generation }) => this.invariants.durable(generation) < committed.length);
    if (!open) return null;
    const sidecars = this.#living().map(({ sidecar }) => describe(sidecar));
    return `stream ${open.generation} has ${this.invariants.durable(open.generation)} of ${committed.length}: ${sidecars.join('; ')}`;
  }

  /** What is not yet as it must be in the end, or null. */
  #unsettled(): (() => never) | null {
    const { committed } = this.tablet;
    for (const { generation } of this.#streams) {
      const durable = this.invariants.durable(generation);
      if (durable < committed.length) {
        const gap = this.#living().find(({ sidecar }) => sidecar.gapAfter !== null);
        const where = `stream ${generation} has ${durable} of ${committed.length}`;
        if (gap)
          return () =>
            broken(
              'no gap while a sidecar has the log',
              `${where}, ${gap.sidecar.process.name} misses what is after ${gap.sidecar.gapAfter}`,
            );
        return () =>
          broken(
            'everything is delivered in the end',
            `${where}: ${this.#living()
              .map(({ sidecar }) => describe(sidecar))
              .join('; ')}`,
          );
      }
    }
    if (!this.#leaderShips()) return () => broken('whoever can ship does', "it is not the leader's sidecar alone");
    const worth = committed.findLast(({ kind, rows }) => kind === 'no-op' || rows > 0)?.index ?? 0;
    for (const { sidecar, id } of this.#living()) {
      for (const { generation, startIndex } of this.#streams) {
        const marked = Math.max(startIndex, Number(sidecar.keeper.marked(generation)?.opId.index ?? 0n));
        if (marked < worth)
          return () =>
            broken(
              'markers catch up in the end',
              `${sidecar.process.name} knows of ${marked} for stream ${generation}, ${worth} is delivered`,
            );
      }
      const { first } = this.tablet.replicas[id]!.hold;
      if (first <= worth)
        return () =>
          broken('holds shrink in the end', `${sidecar.process.name} holds from ${first} on, ${worth} is marked`);
    }
    return null;
  }
}

function describe({ process, shipping, keeper }: Sidecar): string {
  const ships = [...shipping.values()].map(
    ({ stream, state }: Shipper) =>
      `${stream.generation} sink ${state.sink.kind}, log ${state.log.kind}, acked ${state.acked.opId.index}`,
  );
  return `${process.name} ships ${ships.join(', ') || 'nothing'}${keeper.state.caughtUp ? '' : ', is not caught up'}`;
}
