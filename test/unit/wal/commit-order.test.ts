import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type ErrorCode, SpoorError } from '../../../src/errors.ts';
import { formatOpId, MIN_OPID, parseOpId, type OpId } from '../../../src/kudu/opid.ts';
import { CommitOrder } from '../../../src/wal/commit-order.ts';
import type { LogEntry } from '../../../src/wal/entry.ts';
import { commit, opId, replicate } from '../../support/log-entries.ts';

type Action = {
  readonly kind: 'propose' | 'elect' | 'agree' | 'apply' | 'restart' | 'collect' | 'read';
  readonly n: number;
};
const ACTION: fc.Arbitrary<Action> = fc.record({
  kind: fc.constantFrom(
    'propose',
    'propose',
    'elect',
    'agree',
    'agree',
    'apply',
    'apply',
    'restart',
    'collect',
    'read',
    'read',
  ),
  n: fc.nat({ max: 9 }),
});

/** `R1.3 C1.3 |`: proposals, commits, and a new incarnation of the log. */
function play(order: CommitOrder, script: string): string[] {
  const out: string[] = [];
  for (const word of script.split(' ')) {
    if (word === '|') order.restart();
    else order.push((word.startsWith('R') ? replicate : commit)(parseOpId(word.slice(1))));
    out.push(
      ...order.take().map(({ replicate: r, commit: c }) => {
        assert.deepEqual(r.opId, c.opId);
        return formatOpId(r.opId);
      }),
    );
  }
  return out;
}
const from = (after: OpId, script: string): string[] => play(new CommitOrder(after), script);
const throwsCode = (code: ErrorCode, run: () => unknown): void => {
  assert.throws(run, (error) => error instanceof SpoorError && error.code === code);
};

describe('CommitOrder', () => {
  it('gives out nothing that is only proposed (trap 1)', () => {
    assert.deepEqual(from(MIN_OPID, 'R1.1 C1.1 R1.2 R1.3'), ['1.1']);
  });

  it('holds a commit back until all before it are committed (trap 3)', () => {
    assert.deepEqual(from(MIN_OPID, 'R1.1 R1.2 R1.3 C1.3 C1.2'), []);
    assert.deepEqual(from(MIN_OPID, 'R1.1 R1.2 R1.3 C1.3 C1.2 C1.1'), ['1.1', '1.2', '1.3']);
  });

  it('forgets what a newer leader overwrote, and keeps what it did not (trap 2, kudu-facts 5.2)', () => {
    assert.deepEqual(from(MIN_OPID, 'R1.1 C1.1 R1.2 R1.3 R1.4 R1.5 R2.4 C2.4 C1.3 C1.2 R2.5 C2.5'), [
      '1.1',
      '1.2',
      '1.3',
      '2.4',
      '2.5',
    ]);
  });

  it('takes the same proposal twice for one', () => {
    assert.deepEqual(from(MIN_OPID, 'R1.1 C1.1 R1.2 R1.3 R1.2 R1.3 C1.3 C1.2'), ['1.1', '1.2', '1.3']);
  });

  it('gives nothing out twice when a restart wrote the log anew (traps 8, 10)', () => {
    assert.deepEqual(from(MIN_OPID, 'R1.1 R1.2 R1.3 C1.1 C1.3 | R1.1 R1.2 R1.3 C1.1 R1.4 C1.2 C1.4 C1.3'), [
      '1.1',
      '1.2',
      '1.3',
      '1.4',
    ]);
  });

  it('forgets at a restart what was only proposed: it may be gone', () => {
    assert.deepEqual(from(MIN_OPID, 'R1.1 C1.1 R1.2 R1.3 | R1.1 C1.1 R2.2 C2.2'), ['1.1', '2.2']);
  });

  it('keeps the first commit of an operation: a log written anew may judge it otherwise (trap 39)', () => {
    const order = new CommitOrder(MIN_OPID);
    const first = commit(opId(1, 2));
    for (const entry of [replicate(opId(1, 1)), replicate(opId(1, 2)), first]) order.push(entry);
    order.restart();
    for (const entry of [replicate(opId(1, 1)), commit(opId(1, 1)), replicate(opId(1, 2)), commit(opId(1, 2))])
      order.push(entry);
    assert.equal(order.take()[1]?.commit, first);
  });

  it('begins with what the log begins with, as long as that is no later than what is wanted (traps 9, 11, 12)', () => {
    assert.deepEqual(from(opId(1, 4), 'C1.3 R1.4 C1.4 R1.5 C1.5'), ['1.4', '1.5']);
    assert.deepEqual(from(opId(1, 4), 'C1.3 C1.4 R1.5 C1.5'), ['1.5']);
    throwsCode('SPOOR_WAL_GAP', () => from(opId(1, 4), 'R1.6 C1.6'));
    throwsCode('SPOOR_WAL_GAP', () => from(opId(1, 4), 'C1.5'));
    throwsCode('SPOOR_WAL_GAP', () => from(MIN_OPID, 'R1.1 C1.1 R1.3'));
    throwsCode('SPOOR_WAL_GAP', () => from(MIN_OPID, 'R1.1 C1.1 R1.2 C1.3'));
    throwsCode('SPOOR_WAL_GAP', () => from(MIN_OPID, 'R1.1 C1.1 R1.2 C1.2 | R1.4'));
  });

  it('passes over operations that are done with and gone', () => {
    assert.deepEqual(from(opId(1, 9), 'R1.2 C1.2 R1.3 | R1.8 C1.8 R1.9 C1.9 R1.10 C1.10'), [
      '1.2',
      '1.8',
      '1.9',
      '1.10',
    ]);
    assert.deepEqual(
      from(opId(2, 9), 'R1.2 C1.2 | R2.8 C2.8 R2.9 C2.9 | R1.5 C1.5 R2.6 C2.6 R2.7 C2.7 R2.8 C2.8 R2.9 C2.9'),
      ['1.2', '2.8', '2.9'],
    );
  });

  it('passes over a hole when all in it is done with, and no other (kudu-facts 8.5)', () => {
    assert.deepEqual(from(opId(1, 5), 'R1.1 C1.1 R1.2 | C1.4 R1.6 C1.5 C1.6'), ['1.1', '1.6']);
    assert.deepEqual(from(opId(1, 5), 'R1.1 C1.1 R1.2 R1.6 C1.6'), ['1.1', '1.6']); // nobody said that there is one
    assert.deepEqual(from(opId(1, 1), 'R1.1 C1.1 R1.2 C1.2 | R1.3 C1.3'), ['1.1', '1.2', '1.3']);
    assert.deepEqual(from(MIN_OPID, 'R1.1 C1.1 R1.2 C1.2 R1.3 C1.3 | R1.1 C1.1 | R1.3 C1.3 R1.4 C1.4'), [
      '1.1',
      '1.2',
      '1.3',
      '1.4',
    ]);
    throwsCode('SPOOR_WAL_GAP', () => from(opId(1, 5), 'R1.1 C1.1 R1.2 | R1.7'));
    throwsCode('SPOOR_WAL_GAP', () => from(opId(1, 5), 'R1.1 C1.1 | C1.6'));
    throwsCode('SPOOR_WAL_GAP', () => from(MIN_OPID, 'R1.1 C1.1 R1.2 | R1.3 C1.3'));
    throwsCode('SPOOR_WAL_GAP', () => from(MIN_OPID, 'R1.1 C1.1 R1.2 | C1.2'));
  });

  it('raises an alarm when another operation is committed at a known position (traps 38, 40)', () => {
    throwsCode('SPOOR_WAL_DIVERGED', () => from(opId(1, 4), 'R1.4 R2.4 C2.4'));
    throwsCode('SPOOR_WAL_DIVERGED', () => from(opId(1, 4), 'R2.3 C2.3 R2.4 C2.4'));
    throwsCode('SPOOR_WAL_DIVERGED', () => from(opId(3, 4), 'R2.5 C2.5'));
    throwsCode('SPOOR_WAL_DIVERGED', () => from(MIN_OPID, 'R1.1 C1.1 R1.2 C1.2 | R1.1 C1.1 R2.2 C2.2'));
    throwsCode('SPOOR_WAL_DIVERGED', () => from(MIN_OPID, 'R1.1 R1.2 C1.2 | R1.1 R2.2 C2.2'));
    throwsCode('SPOOR_WAL_DIVERGED', () => from(MIN_OPID, 'R2.1 C2.1 R1.2 C1.2'));
    throwsCode('SPOOR_WAL_DIVERGED', () => from(opId(2, 5), 'R1.1 C1.1 | C3.4 R2.6'));
  });

  it('calls a log corrupt that commits what it overwrote', () => {
    throwsCode('SPOOR_WAL_CORRUPT', () => from(MIN_OPID, 'R1.1 C1.1 R1.2 R2.2 C1.2'));
  });

  it('says what is committed and how much waits', () => {
    const order = new CommitOrder(opId(1, 1));
    assert.equal(formatOpId(order.committed), '1.1');
    play(order, 'R1.2 R1.3 R1.4 C1.4');
    assert.equal(formatOpId(order.committed), '1.4');
    assert.equal(order.pendingCount, 3);
  });

  it('gives out exactly what a replica committed, in order, whatever happens to its log', () => {
    fc.assert(
      fc.property(fc.array(ACTION, { maxLength: 80 }), fc.nat({ max: 12 }), (actions, after) => {
        const replica = new Replica();
        const reader = new Reader(replica, BigInt(after));
        for (const action of actions) {
          replica.act(action);
          if (action.kind === 'read') reader.read(action.n);
          reader.check();
        }
        replica.settle();
        reader.read(Number.MAX_SAFE_INTEGER);
        reader.check();
        // Of what is done with nothing may be left in the log, and some of it may have been read.
        const last = reader.given.at(-1)?.index ?? 0n;
        if (replica.agreed >= after)
          assert.equal(last > after ? last : BigInt(after), BigInt(replica.agreed), 'nothing is left out');
      }),
      { numRuns: 3000 },
    );
  });
});

describe('CommitOrder, reading what is held of several incarnations', () => {
  const HISTORY = fc.array(ACTION, { minLength: 10, maxLength: 60 });
  const SEED = fc.infiniteStream(fc.nat({ max: 997 }));

  it('gives out everything when all holes are done with, in whatever order the incarnations come', () => {
    let holes = 0;
    let jumps = 0;
    fc.assert(
      fc.property(HISTORY, fc.nat({ max: 12 }), SEED, (actions, after, random) => {
        const { replica, incarnations } = live(actions, BigInt(after));
        const stand = replica.committed.slice(0, after).at(-1) ?? MIN_OPID;
        const pieces = incarnations.flatMap((file) => {
          // Somewhere before the first operation that is wanted: there may be no more of it than of what is done with.
          const firstWanted = file.findIndex((entry) => entry.kind === 'replicate' && entry.opId.index > stand.index);
          const limit = firstWanted < 0 ? file.length : firstWanted;
          const from = draw(random, limit + 1);
          const until = from + draw(random, limit - from + 1);
          if (from > 0 && until > from) holes++;
          const [before, behind] = [file.slice(0, from), file.slice(until)];
          // Where the indexes jump nobody has to say that there is a hole.
          const lastBefore = before.findLast((entry) => entry.kind === 'replicate')?.opId.index;
          const isJump = behind[0]?.kind === 'replicate' && behind[0].opId.index > (lastBefore ?? 1000n) + 1n;
          if (isJump) jumps++;
          return isJump ? [[...before, ...behind]] : [before, behind];
        });
        const order = new CommitOrder(stand);
        const given = readPieces(order, shuffled(pieces, random));
        assertExact(given, replica, stand);
        const last = given.at(-1)?.index ?? 0n;
        assert.equal(
          last > stand.index ? last : stand.index,
          replica.committed.at(-1)?.index ?? 0n,
          'nothing is left out that is wanted',
        );
      }),
      { numRuns: 3000 },
    );
    assert.ok(holes > 500 && jumps > 50, `${holes} holes, ${jumps} jumps`);
  });

  it('skips nothing and invents nothing, whatever is lost, and in whatever order the rest comes', () => {
    const ends = { whole: 0, gap: 0 };
    fc.assert(
      fc.property(HISTORY, fc.nat({ max: 12 }), fc.nat({ max: 40 }), SEED, (actions, after, held, random) => {
        const { replica, incarnations } = live(actions, BigInt(held));
        const stand = replica.committed.slice(0, after).at(-1) ?? MIN_OPID;
        const pieces = incarnations.flatMap((file) => {
          const cuts = [0, 1, 2, 3].map(() => draw(random, file.length + 1)).sort((a, b) => a - b);
          return [file.slice(0, cuts[0]), file.slice(cuts[1], cuts[2]), file.slice(cuts[3])];
        });
        const given: OpId[] = [];
        try {
          readPieces(new CommitOrder(stand), shuffled(pieces, random), given);
          ends.whole++;
        } catch (error) {
          assert.ok(error instanceof SpoorError && error.code === 'SPOOR_WAL_GAP', String(error));
          ends.gap++;
        }
        assertExact(given, replica, stand);
      }),
      { numRuns: 3000 },
    );
    assert.ok(ends.whole > 200 && ends.gap > 200, JSON.stringify(ends));
  });

  /** A replica's history, and every entry of each incarnation of its log as links from their birth would have them. */
  function live(actions: readonly Action[], held: bigint): { replica: Replica; incarnations: LogEntry[][] } {
    const replica = new Replica();
    replica.held = held;
    const incarnations: LogEntry[][] = [];
    for (const action of actions) {
      if (action.kind === 'restart') incarnations.push(replica.file);
      replica.act(action);
    }
    replica.settle();
    return { replica, incarnations: [...incarnations, replica.file] };
  }

  function readPieces(order: CommitOrder, pieces: readonly (readonly LogEntry[])[], given: OpId[] = []): OpId[] {
    for (const piece of pieces) {
      order.restart();
      for (const entry of piece) {
        order.push(entry);
        given.push(...order.take().map((op) => op.replicate.opId));
      }
    }
    return given;
  }

  /** Without a gap from the first that is wanted on, or from before it; below that some may be left out. */
  function assertExact(given: readonly OpId[], replica: Replica, after: OpId): void {
    for (const id of given)
      assert.equal(formatOpId(id), formatOpId(replica.committed[Number(id.index) - 1]!), 'another was committed');
    for (const [i, id] of given.entries()) if (i > 0) assert.ok(id.index > given[i - 1]!.index, 'in order, and once');
    const wanted = given.filter(({ index }) => index > after.index);
    for (const [i, id] of wanted.entries()) assert.equal(id.index, after.index + BigInt(i + 1), 'none is skipped');
  }

  function draw(random: fc.Stream<number>, below: number): number {
    return (random.next() as IteratorYieldResult<number>).value % below;
  }

  function shuffled<T>(items: readonly T[], random: fc.Stream<number>): T[] {
    return items
      .map((item) => ({ item, at: draw(random, 998) }))
      .sort((a, b) => a.at - b.at)
      .map(({ item }) => item);
  }
});

/**
 * A replica in a few lines: Raft's log as it stands, how far a majority has it, which of that was applied here; and the
 * file, where all of it left its traces (kudu-facts 5.1, 5.2, 5.8).
 */
class Replica {
  /** Every entry of this incarnation; the first `collected` are gone for who comes later. */
  file: LogEntry[] = [];
  collected = 0;
  /** The highest index that log GC may take. */
  held = 0n;
  incarnation = 0;
  readonly log: OpId[] = [];
  agreed = 0;
  readonly applied = new Set<bigint>();
  #term = 1n;

  get committed(): OpId[] {
    return this.log.slice(0, this.agreed);
  }

  act({ kind, n }: Action): void {
    if (kind === 'propose') for (let i = 0; i < n; i++) this.#propose();
    else if (kind === 'elect') this.#elect(n);
    else if (kind === 'agree') this.agreed = Math.min(this.log.length, this.agreed + n);
    else if (kind === 'apply') this.#apply(n);
    else if (kind === 'restart') this.#restart();
    else if (kind === 'collect') this.#collect(n);
  }

  /** Everything that was agreed is applied. */
  settle(): void {
    if (this.log.length === this.agreed) this.#propose(); // so that the end of the log is a proposal, too
    while (this.committed.some(({ index }) => !this.applied.has(index))) this.#apply(0);
  }

  #propose(): void {
    const id = { term: this.#term, index: BigInt(this.log.length + 1) };
    this.log.push(id);
    this.file.push(replicate(id));
  }

  /** A new leader: what was not agreed may be cut off, and its first operation comes next. */
  #elect(n: number): void {
    this.#term++;
    this.log.length = Math.max(this.agreed, this.log.length - n);
    this.#propose();
  }

  #apply(n: number): void {
    const open = this.committed.filter(({ index }) => !this.applied.has(index));
    const id = open[n % Math.max(1, open.length)];
    if (!id) return;
    this.applied.add(id.index);
    this.file.push(commit(id));
  }

  /** Bootstrap: proposals are copied, commits come in strict order, those behind an open operation are dropped. */
  #restart(): void {
    const old = this.file.slice(this.collected);
    this.file = [];
    this.collected = 0;
    this.incarnation++;
    const commits = new Map<bigint, LogEntry>();
    const first = old.find((entry) => entry.kind === 'replicate')?.opId.index ?? 1n;
    let next = first;
    for (const entry of old) {
      if (entry.kind === 'replicate') this.file.push(entry);
      else if (entry.opId.index >= first) commits.set(entry.opId.index, entry);
      for (let known = commits.get(next); known; known = commits.get(++next)) this.file.push(known);
    }
    this.applied.clear();
    for (const { index } of this.committed) if (index < next) this.applied.add(index);
  }

  /** Log GC: some of what is applied here and not held for a stream goes from the front; the last proposal stays. */
  #collect(n: number): void {
    for (let i = this.collected; i < this.collected + n; i++) {
      const { index } = this.file[i]?.opId ?? { index: this.held + 1n };
      const isDone = this.committed.every((id) => id.index > index || this.applied.has(id.index));
      const isLast = !this.file.slice(i + 1).some((entry) => entry.kind === 'replicate');
      if (!isDone || isLast || index > this.held || index > BigInt(this.agreed)) return;
      this.collected = i + 1;
    }
  }
}

/** Reads the file piece by piece as a log reader would, and holds what comes out against the replica. */
class Reader {
  readonly given: OpId[] = [];
  firstGiven = 1n;
  readonly #replica: Replica;
  readonly #after: bigint;
  #order: CommitOrder | null = null;
  #incarnation = -1;
  #at = 0;

  constructor(replica: Replica, after: bigint) {
    this.#replica = replica;
    this.#after = after;
  }

  read(n: number): void {
    const replica = this.#replica;
    if (!this.#order) {
      const after = this.#after === 0n ? MIN_OPID : replica.committed[Number(this.#after) - 1];
      if (!after) return; // the stream begins at an operation that is not committed yet
      this.#order = new CommitOrder(after);
    }
    if (this.#incarnation !== replica.incarnation) {
      this.#incarnation = replica.incarnation;
      this.#at = replica.collected;
      this.#order.restart();
    }
    // Segments were opened at their birth: log GC takes nothing from under a reader.
    for (const end = Math.min(replica.file.length, this.#at + n * 3); this.#at < end; this.#at++) {
      this.#order.push(replica.file[this.#at]!);
      const taken = this.#order.take().map((op) => op.replicate.opId);
      if (this.given.length === 0 && taken[0]) this.firstGiven = taken[0].index;
      this.given.push(...taken);
    }
    const last = this.given.at(-1)?.index ?? 0n;
    replica.held = last > this.#after ? last : this.#after;
  }

  check(): void {
    const { committed } = this.#replica;
    const first = Number(this.firstGiven);
    if (this.given.length === 0) return;
    assert.ok(this.firstGiven <= this.#after + 1n);
    assert.deepEqual(
      this.given.map(formatOpId),
      committed.slice(first - 1, first - 1 + this.given.length).map(formatOpId),
    );
  }
}
