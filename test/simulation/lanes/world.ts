import { LaneCore, type LaneLimits } from '../../../src/sinks/kafka/lanes/lane-core.ts';
import type { LaneEffect, LaneEvent, Share } from '../../../src/sinks/kafka/lanes/lane-events.ts';
import type { LanePosition, PositionsEntry } from '../../../src/sinks/kafka/lanes/positions-view.ts';
import { Random } from '../random.ts';
import { positionAt, SimKafka } from './kafka.ts';

/** How effects are carried out. The first value is right; the others are mistakes that somebody may make. */
export interface LaneRules {
  readonly order: 'claim-fence-read' | 'fence-claim-read' | 'claim-read-fence';
  /** Whether a lane that is opened anew reads what was claimed meanwhile. */
  readonly readsWhenReopened: boolean;
  /** Whether the end of the partition is read before a tablet is taken. */
  readonly readsBeforeSettling: boolean;
  /** Whether a position belongs to the transaction of its rows. */
  readonly positionsInTransaction: boolean;
  /** Whether a write counts as written when its end was decided, and not before. */
  readonly reportsDecided: boolean;
  /** Whether all lanes that may write are fenced, or only the one that wrote last. */
  readonly fencesClaimers: boolean;
  /** Whether a transaction of whose end nobody heard may have been committed. */
  readonly doubtsSilence: boolean;
  /** Whether a lane takes its next epoch when another of its process asks it to. */
  readonly reopensForSibling: boolean;
  /** Whether a transaction that had to wait for its turn is made of what is wanted then, or of what was decided before. */
  readonly beginsInTime: boolean;
  /** Whether what was read so slowly that the partition was compacted meanwhile is read on to its new end. */
  readonly readsOnWhenSlow: boolean;
}

export const LANE_RULES: LaneRules = {
  order: 'claim-fence-read',
  readsWhenReopened: true,
  readsBeforeSettling: true,
  positionsInTransaction: true,
  reportsDecided: true,
  fencesClaimers: true,
  doubtsSilence: true,
  reopensForSibling: true,
  beginsInTime: true,
  readsOnWhenSlow: true,
};

/** Every second seed waits for whoever else comes. */
function limitsOf(seed: number): LaneLimits {
  const lingerMsPerTablet = seed % 2 === 0 ? 1 : 0;
  return { gapMsPerTablet: 1, maxGapMs: 5, lingerMsPerTablet, maxLingerMs: 3, retryMs: 20 };
}

/** An operation is one row here: none is left in its midst, see test/fault/kafka-lanes.test.ts. */
const NO_PARTS: ReadonlyMap<string, LanePosition> = new Map();
const SIDECARS = 3;
/** These are two lanes of one process. */
const SIBLINGS: readonly number[] = [0, 1];
const TABLETS = 4;
const TROUBLE_STEPS = 900;
const QUIET_STEPS = 6_000;

export type LaneInvariant =
  'exactly once, in order' | 'what is reported is committed' | 'everything is shipped in the end';

export class BrokenLane extends Error {
  readonly invariant: LaneInvariant;

  constructor(invariant: LaneInvariant, what: string) {
    super(`broken: ${invariant}\n  ${what}`);
    this.invariant = invariant;
  }
}

/** One effect on its way: goes on step by step, and says at its end what became of it. */
type Task = Generator<void, LaneEvent | null, void>;

interface Shipper {
  state: 'idle' | 'wanting' | 'holding' | 'leaving';
  /** What the sink has, as far as it knows. */
  position: number;
  write: number | null;
}

class Sidecar {
  readonly number: number;
  readonly lane: string;
  core!: LaneCore;
  epoch = -1;
  tasks: Task[] = [];
  shippers: Shipper[] = [];
  dueAt = Number.POSITIVE_INFINITY;
  isFrozen = false;
  /** Which tablets it believes to lead. */
  leads = new Set<number>();
  writes = 0;
  /** Where its tail of the positions partition stands. */
  tail = 0n;
  /** By a mistake: the next read is left out. */
  hasRead = false;
  /** How often it was answered to its sibling, and with what last. */
  reopened = { times: 0, isDone: false };

  readonly #limits: LaneLimits;

  constructor(number: number, limits: LaneLimits) {
    this.number = number;
    this.lane = `lane-${number}`;
    this.#limits = limits;
    this.begin();
  }

  begin(): void {
    this.core = new LaneCore(this.lane, this.#limits);
    this.tasks = [];
    this.dueAt = Number.POSITIVE_INFINITY;
    this.tail = 0n;
    this.shippers = Array.from({ length: TABLETS }, () => ({ state: 'idle', position: 0, write: null }));
  }
}

export interface LaneOutcome {
  readonly seed: number;
  readonly broken: BrokenLane | null;
  readonly trace: readonly string[];
  readonly sights: ReadonlyMap<string, number>;
  readonly rows: number;
}

/** Sidecars that ship tablets by lanes while leaders change, processes die and freeze, and answers get lost. */
export class LaneWorld {
  readonly #seed: number;
  readonly #random: Random;
  readonly #rules: LaneRules;
  readonly #kafka = new SimKafka();
  readonly #sidecars: readonly Sidecar[];
  readonly #leaders: number[] = [];
  /** How many rows each tablet has. */
  readonly #rows: number[] = [];
  /** Requests of processes that are gone: each may still arrive. */
  #orphans: Task[] = [];
  readonly #trace: string[] = [];
  readonly #sights = new Map<string, number>();
  readonly #trouble: {
    kills: number;
    freezes: number;
    losses: number;
    elections: number;
    compactions: number;
    givesUp: number;
  };
  #nowMs = 0;
  #isQuiet = false;

  constructor(seed: number, rules: LaneRules) {
    this.#seed = seed;
    this.#sidecars = Array.from({ length: SIDECARS }, (_, number) => new Sidecar(number, limitsOf(seed)));
    this.#rules = rules;
    const random = (this.#random = new Random(seed));
    const some = (rate: number): number => (random.chance(0.6) ? rate : 0);
    this.#trouble = {
      kills: some(random.pick([0.002, 0.01])),
      freezes: some(0.01),
      losses: some(random.pick([0.02, 0.1])),
      elections: some(random.pick([0.01, 0.05])),
      compactions: some(0.05),
      givesUp: some(0.05),
    };
    for (let tablet = 0; tablet < TABLETS; tablet++) {
      this.#leaders.push(random.below(SIDECARS));
      this.#rows.push(1);
    }
  }

  run(): LaneOutcome {
    let broken: BrokenLane | null = null;
    try {
      for (let step = 0; step < TROUBLE_STEPS; step++) {
        this.#makeTrouble();
        this.#step();
      }
      this.#heal();
      for (let step = 0; step < QUIET_STEPS && !this.#isShipped(); step++) this.#step();
      this.#check();
      if (!this.#isShipped()) throw new BrokenLane('everything is shipped in the end', this.#standing());
    } catch (error) {
      if (!(error instanceof BrokenLane)) throw error;
      broken = error;
    }
    const rows = this.#kafka.rows.length;
    return { seed: this.#seed, broken, trace: this.#trace, sights: this.#sights, rows };
  }

  #saw(sight: string): void {
    this.#sights.set(sight, (this.#sights.get(sight) ?? 0) + 1);
  }

  #note(line: string): void {
    this.#trace.push(`${this.#nowMs} ${line}`);
  }

  #makeTrouble(): void {
    const { kills, freezes, elections, compactions } = this.#trouble;
    const random = this.#random;
    if (random.chance(elections)) {
      const tablet = random.below(TABLETS);
      this.#leaders[tablet] = random.below(SIDECARS);
      this.#note(`tablet ${tablet} is led by ${this.#leaders[tablet]}`);
    }
    const process = this.#processOf(random.pick(this.#sidecars));
    if (random.chance(kills))
      for (const sidecar of process) {
        this.#note(`${sidecar.lane} is killed`);
        this.#orphans.push(...sidecar.tasks);
        sidecar.begin();
      }
    if (random.chance(freezes))
      for (const sidecar of process) {
        sidecar.isFrozen = !sidecar.isFrozen;
        this.#note(`${sidecar.lane} ${sidecar.isFrozen ? 'freezes' : 'thaws'}`);
      }
    if (random.chance(compactions)) this.#kafka.compact();
    if (random.chance(0.2)) this.#rows[random.below(TABLETS)]! += random.between(1, 3);
  }

  #processOf(sidecar: Sidecar): Sidecar[] {
    return SIBLINGS.includes(sidecar.number) ? SIBLINGS.map((number) => this.#sidecars[number]!) : [sidecar];
  }

  #heal(): void {
    this.#isQuiet = true;
    this.#note('quiet from here on');
    for (const sidecar of this.#sidecars) sidecar.isFrozen = false;
  }

  #step(): void {
    this.#nowMs++;
    const random = this.#random;
    if (this.#orphans.length > 0 && random.chance(0.3)) {
      const [orphan] = this.#orphans.splice(random.below(this.#orphans.length), 1);
      orphan!.next(); // it arrives; nobody hears of it
    }
    const sidecar = random.pick(this.#sidecars);
    if (sidecar.isFrozen) {
      // What it had sent goes on as far as it needs nobody here.
      if (sidecar.tasks.length > 0 && random.chance(0.05)) this.#saw('a request of a frozen sidecar was under way');
      return;
    }
    if (random.chance(0.2)) this.#look(sidecar);
    if (random.chance(0.3)) this.#readTail(sidecar);
    if (sidecar.dueAt <= this.#nowMs) {
      sidecar.dueAt = Number.POSITIVE_INFINITY;
      this.#post(sidecar, { kind: 'due' });
    }
    for (const tablet of sidecar.shippers.keys()) if (random.chance(0.3)) this.#ship(sidecar, tablet);
    if (sidecar.tasks.length === 0) return;
    const at = random.below(sidecar.tasks.length);
    const task = sidecar.tasks[at]!;
    const { done, value } = task.next();
    if (!done) return;
    sidecar.tasks.splice(sidecar.tasks.indexOf(task), 1);
    if (value) this.#post(sidecar, value);
  }

  /** It hears who leads. */
  #look(sidecar: Sidecar): void {
    for (const [tablet, leader] of this.#leaders.entries())
      if (leader === sidecar.number) sidecar.leads.add(tablet);
      else if (this.#isQuiet || this.#random.chance(0.3)) sidecar.leads.delete(tablet);
  }

  #readTail(sidecar: Sidecar): void {
    const entries = this.#kafka.entries.filter(({ offset }) => offset >= sidecar.tail);
    this.#feed(sidecar, entries.slice(0, this.#random.between(0, 3)));
  }

  #feed(sidecar: Sidecar, entries: readonly PositionsEntry[]): void {
    const last = entries.at(-1);
    if (!last) return;
    sidecar.tail = last.offset + 1n;
    this.#post(sidecar, { kind: 'entries', entries });
  }

  #ship(sidecar: Sidecar, tablet: number): void {
    const shipper = sidecar.shippers[tablet]!;
    const name = nameOf(tablet);
    const leads = sidecar.leads.has(tablet);
    if (shipper.state === 'idle' && leads) {
      shipper.state = 'wanting';
      this.#post(sidecar, { kind: 'want', tablet: name });
    } else if (shipper.state === 'holding' && !leads && shipper.write === null) {
      shipper.state = 'leaving';
      this.#post(sidecar, { kind: 'release', tablet: name });
    } else if (shipper.state === 'holding' && shipper.write !== null && this.#givesUp()) {
      this.#saw('a write was given up');
      this.#post(sidecar, { kind: 'cancel', tablet: name, write: shipper.write });
      shipper.write = null;
      shipper.state = 'leaving'; // and opens it again
      this.#post(sidecar, { kind: 'release', tablet: name });
    } else if (shipper.state === 'holding' && shipper.write === null && shipper.position < this.#rows[tablet]!) {
      shipper.write = ++sidecar.writes;
      const upTo = Math.min(this.#rows[tablet]!, shipper.position + this.#random.between(1, 3));
      this.#post(sidecar, {
        kind: 'write',
        tablet: name,
        write: shipper.write,
        position: { generation: 'g', at: positionAt(upTo) },
      });
    }
  }

  #post(sidecar: Sidecar, event: LaneEvent): void {
    if (event.kind !== 'due' && event.kind !== 'entries')
      this.#note(`${sidecar.lane} <- ${event.kind} ${'tablet' in event ? event.tablet : ''}`);
    for (const effect of sidecar.core.on(event, this.#nowMs)) this.#perform(sidecar, effect);
  }

  #perform(sidecar: Sidecar, effect: LaneEffect): void {
    if (effect.kind !== 'due-in') this.#note(`${sidecar.lane} -> ${describe(effect)}`);
    switch (effect.kind) {
      case 'open':
        sidecar.tasks.push(this.#open(sidecar, sidecar.core, effect.call));
        return;
      case 'claim':
        sidecar.tasks.push(this.#claim(sidecar, effect.call, effect.tablets));
        return;
      case 'fence':
        sidecar.tasks.push(this.#fence(sidecar, effect.call, effect.lanes));
        return;
      case 'read':
        sidecar.tasks.push(this.#read(sidecar, effect.call));
        return;
      case 'transact':
        sidecar.tasks.push(this.#transact(sidecar, sidecar.epoch, effect));
        return;
      case 'due-in':
        sidecar.dueAt = Math.min(sidecar.dueAt, this.#nowMs + effect.ms);
        return;
      case 'taken':
      case 'not-taken':
      case 'lost':
      case 'written':
      case 'not-written':
      case 'released':
        this.#tell(sidecar, effect);
        return;
      case 'reopened':
      case 'not-reopened':
        sidecar.reopened = { times: sidecar.reopened.times + 1, isDone: effect.kind === 'reopened' };
    }
  }

  /** What whoever ships the tablet hears. */
  #tell(sidecar: Sidecar, effect: Extract<LaneEffect, { readonly tablet: string }>): void {
    const tablet = Number(effect.tablet);
    const shipper = sidecar.shippers[tablet]!;
    switch (effect.kind) {
      case 'taken':
        shipper.state = 'holding';
        shipper.position = Number(effect.position?.at.opId.index ?? 0n);
        shipper.write = null;
        return;
      case 'written': {
        if (shipper.write !== effect.write) return;
        shipper.write = null;
        const committed = this.#kafka.committedRows(effect.tablet).at(-1)?.index ?? 0;
        const position = this.#positionOfWrite.get(`${sidecar.lane} ${effect.write}`)!;
        if (committed < position)
          throw new BrokenLane(
            'what is reported is committed',
            `tablet ${tablet}: ${position}, committed ${committed}`,
          );
        shipper.position = position;
        return;
      }
      case 'not-written':
      case 'not-taken':
      case 'lost':
        // It is opened again, if it still leads.
        if (shipper.state === 'holding' && effect.kind !== 'lost')
          this.#post(sidecar, { kind: 'release', tablet: effect.tablet });
        shipper.state = 'idle';
        shipper.write = null;
        return;
      case 'released':
        if (shipper.state === 'leaving') shipper.state = 'idle';
    }
  }

  #givesUp(): boolean {
    return !this.#isQuiet && this.#random.chance(this.#trouble.givesUp);
  }

  readonly #positionOfWrite = new Map<string, number>();

  /** Whether the answer, or the request, gets lost here. */
  #isLost(): boolean {
    return !this.#isQuiet && this.#random.chance(this.#trouble.losses);
  }

  *#open(sidecar: Sidecar, core: LaneCore, call: number): Task {
    yield;
    if (this.#isLost()) return failed(call);
    const epoch = this.#kafka.initProducer(sidecar.lane);
    yield;
    if (this.#isLost()) return failed(call);
    if (sidecar.core === core) sidecar.epoch = epoch; // else whoever asked is gone
    return { kind: 'opened', call };
  }

  *#claim(sidecar: Sidecar, call: number, tablets: readonly string[]): Task {
    if (this.#rules.order === 'fence-claim-read')
      for (const tablet of tablets)
        for (const lane of this.#kafka.entries.flatMap((entry) =>
          entry.kind === 'claim' && entry.tablet === tablet && entry.lane !== sidecar.lane ? [entry.lane] : [],
        )) {
          this.#kafka.initProducer(lane);
          yield;
        }
    yield;
    if (this.#isLost()) return failed(call);
    const offsets = new Map(tablets.map((tablet) => [tablet, this.#kafka.appendClaim(tablet, sidecar.lane)]));
    yield;
    return this.#isLost() ? failed(call) : { kind: 'claimed', call, offsets };
  }

  *#fence(sidecar: Sidecar, call: number, lanes: readonly string[]): Task {
    if (this.#rules.order === 'fence-claim-read') return { kind: 'fenced', call };
    sidecar.hasRead = this.#rules.order === 'claim-read-fence';
    for (const lane of lanes) {
      yield;
      if (this.#isLost()) return failed(call);
      const sibling = this.#processOf(sidecar).find((other) => other !== sidecar && other.lane === lane);
      if (sibling) {
        if (!(yield* this.#handOver(sibling))) return failed(call);
        continue;
      }
      const isLast = this.#lastWriters().has(lane);
      if (this.#rules.fencesClaimers || isLast) {
        this.#kafka.initProducer(lane);
        this.#saw('a lane was fenced');
      }
      yield;
      if (this.#isLost()) return failed(call);
    }
    return { kind: 'fenced', call };
  }

  /** @returns whether it was done */
  *#handOver(sibling: Sidecar): Generator<void, boolean, void> {
    if (!this.#rules.reopensForSibling) return true;
    const { core } = sibling;
    const { times } = sibling.reopened;
    this.#post(sibling, { kind: 'reopen' });
    this.#saw('a lane handed over to its sibling');
    while (sibling.reopened.times === times) {
      yield;
      if (sibling.core !== core) return false; // the process is gone, and we with it
    }
    return sibling.reopened.isDone;
  }

  #lastWriters(): Set<string> {
    return new Set(this.#kafka.rows.map(({ lane }) => lane).slice(-1));
  }

  *#read(sidecar: Sidecar, call: number): Task {
    yield;
    const isReopening = sidecar.core.isReopening;
    if (sidecar.hasRead && !isReopening) {
      sidecar.hasRead = false;
      return { kind: 'read', call };
    }
    if (isReopening ? !this.#rules.readsWhenReopened : !this.#rules.readsBeforeSettling) return { kind: 'read', call };
    for (let compactions = -1; compactions !== this.#kafka.compactions;) {
      if (this.#isLost()) return failed(call);
      if (compactions >= 0) this.#saw('a partition was compacted while it was read');
      compactions = this.#rules.readsOnWhenSlow ? this.#kafka.compactions : Number.NaN;
      const end = this.#kafka.end;
      while (sidecar.tail < end) {
        const entries = this.#kafka.entries.filter(({ offset }) => offset >= sidecar.tail && offset < end);
        if (entries.length === 0) break;
        this.#feed(sidecar, entries.slice(0, this.#random.between(1, 4)));
        yield;
        if (this.#isLost()) return failed(call);
      }
      if (Number.isNaN(compactions)) break;
    }
    return { kind: 'read', call };
  }

  *#transact(sidecar: Sidecar, epoch: number, { call }: LaneEffect & { kind: 'transact' }): Task {
    const { lane, core } = sidecar;
    const kafka = this.#kafka;
    const decided = this.#rules.beginsInTime ? null : core.begin(call);
    while (this.#random.chance(0.5)) yield; // until it is its turn
    const all = decided ?? core.begin(call);
    const leftOut = this.#leaveOut(all);
    const shares = all.filter(({ tablet }) => !leftOut.has(tablet));
    const lost = (): LaneEvent => ({ kind: 'not-committed', call, culprits: 'all', cause: 'no answer' });
    const isFenced = (): LaneEvent => {
      this.#saw('a transaction was fenced');
      return { kind: 'not-committed', call, culprits: 'none', cause: 'fenced' };
    };
    // Whoever has given a write up by now has taken its rows along.
    const isThere = ({ tablet, write }: Share): boolean => sidecar.shippers[Number(tablet)]!.write === write;
    const hasRows = new Set(shares.filter(isThere).map(({ tablet }) => tablet));
    // Whoever writes knows from where; the sink is given the rows.
    const from = new Map(shares.map(({ tablet }) => [tablet, sidecar.shippers[Number(tablet)]!.position]));
    for (const { tablet, write, position, claim, isReleased } of shares) {
      if (write === null || !position) continue;
      const upTo = Number(position.at.opId.index);
      this.#positionOfWrite.set(`${lane} ${write}`, upTo);
      if (!hasRows.has(tablet)) this.#saw('the rows of a write were gone');
      else
        for (let index = from.get(tablet)! + 1; index <= upTo; index++) {
          yield;
          if (this.#isLost()) return lost();
          if (!kafka.appendRow(lane, epoch, tablet, index)) return isFenced();
        }
      if (!this.#rules.positionsInTransaction) kafka.appendLoosePosition(tablet, { claim, position, isReleased });
    }
    if (shares.length > 1 && this.#isLost()) {
      this.#saw('a transaction failed for one tablet');
      const culprits = new Map([[this.#random.pick(shares).tablet, 'too large']]);
      return { kind: 'not-committed', call, culprits, cause: 'too large' };
    }
    yield;
    if (this.#rules.positionsInTransaction)
      for (const { tablet, claim, position, isReleased } of shares)
        if (!kafka.appendPosition(lane, epoch, tablet, { claim, position, isReleased })) return isFenced();
    yield;
    if (!this.#rules.reportsDecided) this.#post(sidecar, { kind: 'committed', call, leftOut, parts: NO_PARTS });
    if (this.#isLost())
      return this.#rules.doubtsSilence ? lost() : { kind: 'committed', call, leftOut, parts: NO_PARTS };
    const transaction = kafka.commit(lane, epoch);
    if (transaction === 'fenced') return isFenced();
    yield;
    if (this.#random.chance(0.5)) kafka.writeMarkers(transaction);
    if (this.#isLost()) {
      this.#saw('a transaction was committed though nobody heard of it');
      return lost();
    }
    return { kind: 'committed', call, leftOut, parts: NO_PARTS };
  }

  /** There may be no room for all; and what can be told of a tablet before anything is sent harms no other. */
  #leaveOut(shares: readonly Share[]): Map<string, string | null> {
    const leftOut = new Map<string, string | null>();
    if (shares.length < 2 || !this.#random.chance(0.2)) return leftOut;
    const isFault = !this.#isQuiet && this.#random.chance(0.5);
    leftOut.set(this.#random.pick(shares).tablet, isFault ? 'no topic' : null);
    this.#saw(isFault ? 'a tablet was left out for its fault' : 'a tablet was left out for room');
    return leftOut;
  }

  #isShipped(): boolean {
    return this.#rows.every((count, tablet) => (this.#kafka.committedRows(nameOf(tablet)).at(-1)?.index ?? 0) >= count);
  }

  #check(): void {
    for (const tablet of this.#rows.keys()) {
      const rows = this.#kafka.committedRows(nameOf(tablet));
      for (const [at, { index, lane }] of rows.entries())
        if (index !== at + 1)
          throw new BrokenLane(
            'exactly once, in order',
            `tablet ${tablet}: row ${index} of ${lane} in place ${at + 1}, before it ${rows[at - 1]?.index} of ${rows[at - 1]?.lane}`,
          );
    }
  }

  #standing(): string {
    return this.#rows
      .map((count, tablet) => `tablet ${tablet}: ${this.#kafka.committedRows(nameOf(tablet)).length} of ${count}`)
      .join(', ');
  }
}

function nameOf(tablet: number): string {
  return String(tablet);
}

function failed(call: number): LaneEvent {
  return { kind: 'failed', call, cause: 'no answer' };
}

function describe(effect: LaneEffect): string {
  return JSON.stringify(effect, (_key, value: unknown) => (typeof value === 'bigint' ? value.toString() : value));
}
